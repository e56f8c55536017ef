#!/bin/sh
# What the sshd of test_evil_host.py runs in place of every command: a host that is broken, or somebody else's.
mode=$(cat /evil/mode)
many() { head -c "$1" /dev/zero | tr '\0' A; }
case $mode in
silent) exec sleep 120 ;;
flood) many 300000000; exec sleep 120 ;;
esac
case $SSH_ORIGINAL_COMMAND in
"echo ready; exec cat") echo ready; exec cat ;;
esac
case $mode in
stalls) exec sleep 120 ;;
answers) many 400000000 ;;
escapes) printf '\033]0;PWNED\007\033[8mhidden [link=http://evil]x[/link] \302\233m\342\200\256' >&2 ;;
esac
