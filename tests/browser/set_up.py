"""Fetch what the browser tests need: playwright-core and axe-core (into a cache), and a browser.

    python tests/browser/set_up.py

needs Node.js with npm, and the network once. Where there is no Chromium or Chrome, it installs
Debian's Chromium, as root or with sudo; on other systems that is left to you. The tests are
skipped, and say why, where any of it is missing.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ("playwright-core@1.65", "axe-core@4.14")
_BASE = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
FOLDER = Path(_BASE) / "kerasaid" / "browser"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def browser():
    """Return the path of a Chromium or Chrome, or None; KERASAID_BROWSER names another one."""
    named = os.environ.get("KERASAID_BROWSER")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


def missing():
    """Return what the browser tests lack here, in words; an empty text when nothing."""
    if os.environ.get("CI"):
        return "not in CI"
    if shutil.which("node") is None:
        return "there is no Node.js"
    if browser() is None:
        return "there is no Chromium or Chrome"
    if not all((FOLDER / "node_modules" / p.partition("@")[0]).is_dir() for p in PACKAGES):
        return f"{FOLDER} lacks playwright-core or axe-core; run: python tests/browser/set_up.py"
    return ""


def install_browser():
    """Install Chromium where the system is a Debian and has none."""
    if browser() is None and shutil.which("apt-get"):
        root = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*root, "apt-get", "install", "--yes", "chromium"])


def main():
    """Install what is missing; return the exit code."""
    install_browser()
    npm = shutil.which("npm")
    if npm is None:
        print("npm is missing; install Node.js", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(FOLDER)]
    done = subprocess.run([*command, *PACKAGES]).returncode
    print(missing() or f"ready: {FOLDER}")
    return done


if __name__ == "__main__":
    sys.exit(main())
