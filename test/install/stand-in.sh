# shellcheck shell=bash
# For those who source it: a stand-in for the server of Rust's installer, on loopback, over TLS.
#
# stand_in_start DIR: DIR/installer is what it serves, DIR/requests what it was asked for, DIR/cert.pem whom to
# trust, $stand_in_url where it is. stand_in_stop ends it.

stand_in_start() {
    mkdir -p "$1"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$1/key.pem" -out "$1/cert.pem" 2>/dev/null
    mkfifo "$1/stdin"
    : >"$1/requests"
    "${PYTHON:-python3}" "$(dirname "${BASH_SOURCE[0]}")/stand_in.py" "$1/cert.pem" "$1/key.pem" "$1/installer" \
        <"$1/stdin" >"$1/requests" &
    stand_in=$!
    exec 8>"$1/stdin"
    until grep -q '^port ' "$1/requests"; do
        kill -0 "$stand_in"
        sleep 0.05
    done
    stand_in_url=https://127.0.0.1:$(sed -n 's/^port //p' "$1/requests")
}

stand_in_stop() {
    exec 8>&-
    wait "$stand_in" || true
}

# An installer as Rust's: writes down its arguments and puts this cargo and this rustup into the user's folder.
stand_in_installer() { # DIR CARGO-SCRIPT
    cat >"$1/installer" <<INSTALLER
#!/bin/sh
set -e
bin=\${CARGO_HOME:-\$HOME/.cargo}/bin
mkdir -p "\$bin"
echo "\$*" >"\$HOME/installer-arguments"
cat >"\$bin/cargo" <<'CARGO'
$2
CARGO
cat >"\$bin/rustup" <<'RUSTUP'
#!/bin/sh
echo "\$*" >>"\$HOME/rustup-calls"
case "\$*" in "component add rustfmt clippy") touch "\$HOME/has-lints" ;; esac
RUSTUP
chmod +x "\$bin/cargo" "\$bin/rustup"
INSTALLER
}
