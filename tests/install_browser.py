"""Makes sure that there is a browser to test with.

An installed Chrome or Chromium is taken as it is. Else Debian's chromium where apt can install it (root), else Playwright's own.
"""

import os
import shutil
import subprocess
import sys

from browsers import browser_path


def main() -> None:
    """Installs a browser if none is there. Exits with the installer's error if that fails."""
    if browser_path():
        return
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-liberation"], check=True
        )
        return
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)


if __name__ == "__main__":
    main()
