"""How the page looks: plain, one accent, readable on a wide screen and on a phone."""

CSS = """
.gradio-container { width: 100% !important; max-width: 1240px !important; margin: 0 auto !important; }
#title h1 { font-size: 1.25rem; margin: 0; }
#title p, .quiet { color: #5a5a62 !important; }
.dark #title p, .dark .quiet { color: #b5b5bd !important; }
#notice p { margin: 0 0 4px; padding: 8px 12px; border-left: 3px solid var(--primary-500);
            background: var(--background-fill-secondary); }
#verdict p { margin: 0 0 6px; overflow-wrap: anywhere; }
.verdict { display: inline-block; padding: 2px 10px; border-radius: 999px; color: #fff; background: #555; }
.verdict.ok { background: #14713f; }
.verdict.defect { background: #b3202c; }
.verdict.unsure { background: #8a5a00; }
.warning { color: #8a5a00; }
.dark .warning { color: #e0b060; }
#photos .grid-container { grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)) !important; }
#photos .caption-label { inset: auto 0 0 0; max-width: none; white-space: normal; overflow-wrap: anywhere; }
#talk button[aria-label="Clear"] { display: none; }
@media (max-width: 640px) { #view { height: 80vw !important; } }
#view img { max-height: 560px; object-fit: contain; }
#count p { margin: 0; font-size: 0.9rem; overflow-wrap: anywhere; }
.paper { position: relative; line-height: 0; }
.paper img:not(.before) { width: 100%; }
.paper canvas { position: absolute; inset: 0; width: 100%; height: 100%; opacity: 0.55; cursor: crosshair;
                touch-action: none; }
#canvas p { margin: 8px 0 0; }
#defects label { overflow-wrap: anywhere; }
"""
