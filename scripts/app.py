"""python -m scripts.app run=RUN|tiny|export=DIR|expert=NAME [expert_dir=DIR] [port=7860].

A page in the browser on which photos are dropped and looked at; it is served on this machine alone, needs no network,
and ends with Ctrl-C. run=tiny is the EIAD that ships with the code. Other programs call the same by gradio_client.
"""

from eval.assistant.config import AppConfig
from eval.assistant.serve import serve
from scripts.command import command


@command("app", AppConfig)
def main(config: AppConfig) -> None:
    """Serves the assistant's page."""
    serve(config)


if __name__ == "__main__":
    main()
