#!/bin/bash
# Runs inside the container, as root, under its systemd: what docs/install.md says,
# step by step. Every step must succeed; the last line of the report says so.
exec > /share/report.txt 2> /share/trace.txt
set -euxo pipefail
say() { echo "$*"; }

tarball=$(ls /share/sahara-*.tar.gz)
install() { tar -xzf "$tarball" -C /usr/local --strip-components=1 --no-same-owner --no-overwrite-dir; }
take_away() {
    (cd /usr/local && cut -c67- share/doc/sahara/SHA256SUMS | xargs -d '\n' rm && rm share/doc/sahara/SHA256SUMS)
}
key() { grep -o "\"$1\":\"[0-9a-f]*\"" | cut -d'"' -f4; }
# What the kernel says of the main process of a unit.
locked_in() {
    local pid status
    pid=$(systemctl show --value -p MainPID "sahara-$1")
    status=$(cat "/proc/$pid/status")
    for line in 'NoNewPrivs:.1' 'Seccomp:.2' 'CapBnd:.0000000000000000' 'CapEff:.0000000000000000'; do
        grep -q "$line" <<< "$status"
    done
    # Its own mounts, where everything but its state is read-only.
    [ "$(readlink "/proc/$pid/ns/mnt")" != "$(readlink /proc/1/ns/mnt)" ]
    grep -q ' / / ro' "/proc/$pid/mountinfo" || grep -q ' / ro' "/proc/$pid/mountinfo"
}

install
(cd /usr/local && sha256sum --check --quiet share/doc/sahara/SHA256SUMS)
cp /share/cometbft /usr/local/bin/
systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload
man -w sahara-embed > /tmp/page.txt
say "installed"

mkdir -p /root/work && cd /root/work
owner=$(SAHARA_HOME=olga sahara whoami --json | key owner)
asks=$(sudo -Hu sahara-gateway sahara whoami --json | key key)
own=$(sudo -Hu sahara-operator sahara whoami --json)
keys=(--owner "$owner" --owner "$(key owner <<< "$own")" --consumer "$asks" --consumer "$(key key <<< "$own")")
keys+=(--consumer "$(SAHARA_HOME=olga sahara whoami --json | key key)")
sudo -Hu sahara-operator sahara operator init --listen 127.0.0.1:7700 --metrics 127.0.0.1:9101 "${keys[@]}" > anna.txt
SAHARA_HOME=bert sahara operator init --listen 127.0.0.1:9501 "${keys[@]}" > bert.txt
SAHARA_HOME=carla sahara operator init --listen 127.0.0.1:9502 "${keys[@]}" > carla.txt
{
    echo 'version = 1'
    for who in anna bert carla; do grep -A 3 '^\[\[node\]\]' $who.txt | sed "s/a name/$who/; s/ *#.*//"; done
} > committee.toml
cp committee.toml /var/lib/sahara-operator/.sahara/node/
for who in bert carla; do
    cp committee.toml $who/node/
    SAHARA_HOME=$who sahara operator run > $who.log &
done
chown sahara-operator: /var/lib/sahara-operator/.sahara/node/committee.toml
systemctl enable --now sahara-operator
sleep 3
sudo -Hu sahara-operator sahara operator doctor > doctor.txt
locked_in operator
say "the share node runs, locked in; doctor has nothing to say"

cp -r /share/model model
SAHARA_HOME=olga sahara --quiet model pull ./model --name mini > pull.txt
SAHARA_HOME=olga sahara --quiet model share mini --access "$asks" --committee committee.toml > share.txt
mkdir -p /etc/sahara && cp committee.toml /etc/sahara/
echo "OPTIONS=--model $owner/mini --committee /etc/sahara/committee.toml" > /etc/sahara/gateway.env
systemctl enable --now sahara-gateway
for _ in $(seq 60); do curl -sf http://127.0.0.1:8321/healthz > health.txt && break; sleep 1; done
curl -sf http://127.0.0.1:8321/v1/embeddings -H 'content-type: application/json' \
    -d "{\"model\":\"$owner/mini\",\"input\":[\"a private sentence\",\"another\",\"and a third one\"]}" > answer.json
[ "$(grep -o '"embedding":\[' answer.json | wc -l)" = 3 ]
curl -sf http://127.0.0.1:9101/metrics | grep -q 'sahara_jobs_total{outcome="failed"} 0'
locked_in gateway
say "the gateway runs, locked in, and answers with the three nodes"

sahara chain testnet 2 --home net > net.log 2>&1 &
for _ in $(seq 60); do grep -q 'all validators answer' net.log && break; sleep 1; done
source=$(grep -o 'CometBFT http://[0-9.:]*' net.log | head -1 | cut -d' ' -f2)
home=/var/lib/sahara-validator/chain
sudo -Hu sahara-validator sahara chain join "$source" --home $home > join.txt
systemctl enable --now sahara-validator
height() { sudo -Hu sahara-validator sahara chain status --home $home --json | grep -o '"height":[0-9]*' | cut -d: -f2; }
for _ in $(seq 60); do [ "$(height || echo 0)" -ge 5 ] && break; sleep 1; done
[ "$(height)" -ge 5 ]
locked_in validator
say "the chain node runs, locked in, and follows the chain"

systemctl kill -s KILL sahara-operator
for _ in $(seq 30); do sleep 1; systemctl is-active -q sahara-operator && break; done
systemctl is-active -q sahara-operator
say "a killed node is started again"

take_away && install && systemctl daemon-reload && systemctl restart sahara-operator && sleep 2
systemctl is-active -q sahara-operator
say "upgraded"
for unit in operator validator gateway; do
    systemctl disable --now sahara-$unit
    [ "$(systemctl show --value -p Result sahara-$unit)" = success ]
done
take_away
find /usr/local/share/doc/sahara /usr/local/share/sahara -depth -type d -empty -delete
[ "$(find /usr/local -type f)" = /usr/local/bin/cometbft ]
[ -s /var/lib/sahara-operator/.sahara/node/key ]
say "uninstalled; state is there"
echo DONE
