#!/bin/sh
# Installs the Chromium that the browser tests drive: the one without windows, which takes less of the machine, where
# there are packages of it; elsewhere any Chromium or Google Chrome that is on the PATH will do.
set -eu

if command -v chromium-headless-shell >/dev/null 2>&1; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
as_root=""
# Not where somebody would have to be asked for a password, since other browsers do.
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    if { apt-cache show chromium-headless-shell || apt-get update; } >/dev/null 2>&1 &&
        apt-get install -y --no-install-recommends chromium-headless-shell >/dev/null 2>&1; then
        exit 0
    fi
fi
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then
        exit 0
    fi
done
if [ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "The browser tests need Chromium or Google Chrome: install one of them and put it on the PATH." >&2
    exit 1
fi

if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "The browser tests need Chromium: run 'apt-get install chromium' as root." >&2
        exit 1
    fi
    as_root="sudo"
fi
$as_root apt-get update -qq
$as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null
