#!/usr/bin/env bash
# Installs Debian's Chromium for `make browser`, where no Chromium is and we may; else says what to install.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then
        exit 0
    fi
done
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get update --quiet=2
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends chromium
else
    echo "The browser tests need Chromium: install the package chromium, or Google Chrome." >&2
    exit 1
fi
