"""What picture files hold: size, orientation and depth by the header, pixels as displayed, and shapes drawn as masks.

Public modules: `decode`, `header`, `levels`, `shapes`.
"""
