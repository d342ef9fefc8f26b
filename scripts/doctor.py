"""python -m scripts.doctor data=DIR [reader=NAME] [against=DIR2] [workers=N] [json=true] [out=FILE] [show=5].

Says which dataset lies at a path, whether it is whole, and for each problem the file and the fix; exits 1 on errors.
"""

import sys

from data.doctor.examine import DoctorConfig, diagnose
from scripts.command import command


@command("doctor", DoctorConfig, aliases={"data": "folder", "against": "against", "out": "out", "cache": "cache"})
def main(config: DoctorConfig) -> None:
    """Examines one dataset."""
    if not diagnose(config):
        sys.exit(1)


if __name__ == "__main__":
    main()
