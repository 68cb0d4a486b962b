#!/usr/bin/env bash
# Makes this host forget the cluster: kubelet, certificates, pods, their network and, on a control plane, its copy of etcd.
# The last control plane holds the only copy, so it is left alone unless RESET_LAST_CONTROL_PLANE is yes.
# Environment: NODE_NAME, NODE_ADDRESS, NODE_ROLE, API_ENDPOINT (host:port), RESET_LAST_CONTROL_PLANE.
set -euo pipefail

endpoint_is_here() { [[ -n $(ip -4 -o address show to "${API_ENDPOINT%:*}") ]]; }
ready() { curl -sfk -o /dev/null -m 5 "https://$1/readyz"; }

if [[ $NODE_ROLE == control-plane && -d /var/lib/etcd/member && ${RESET_LAST_CONTROL_PLANE:-no} != yes ]]; then
  # Another one carries on when a peer has taken our etcd out, so that our own API server has nothing to answer from, and
  # the endpoint answers from another machine. The address may have to move first; our own server may answer a moment longer.
  carried='' own=0
  for _ in {1..15}; do
    if ready "$NODE_ADDRESS:${API_ENDPOINT##*:}"; then
      own=$((own + 1))
      if ((own == 4)); then break; fi
    elif ! endpoint_is_here && ready "$API_ENDPOINT"; then
      carried=yes
      break
    fi
    sleep 2
  done
  if [[ -z $carried ]]; then
    echo "unchanged: no other control plane carries on, so $NODE_NAME keeps etcd and its identity (destroy.resetLastControlPlane is false)"
    exit 0
  fi
fi

if [[ $NODE_ROLE == control-plane ]] && systemctl cat keepalived.service >/dev/null 2>&1; then
  systemctl disable --now --quiet keepalived.service # first: it must not hold the API's address any longer
fi
# What was saved stays; the login to its keepers does not.
if systemctl cat etcd-backup.timer >/dev/null 2>&1; then systemctl disable --now --quiet etcd-backup.timer; fi
rm -rf -- /etc/qwen3-vl/backup /var/lib/node-exporter/textfile/etcd-backup.prom /usr/local/sbin/etcd-backup /etc/systemd/system/etcd-backup.timer /etc/systemd/system/etcd-backup.service
if command -v kubeadm >/dev/null; then
  timeout 200 kubeadm reset --force --skip-phases remove-etcd-member --cleanup-tmp-dir >/dev/null
fi
if systemctl cat kubelet.service >/dev/null 2>&1; then systemctl stop kubelet.service; fi

rm -rf -- /etc/kubeadm /etc/kubernetes/apiserver /etc/keepalived/keepalived.conf /etc/cni/net.d/10-flannel.conflist /opt/cni/bin/flannel /run/flannel /var/lib/cni
if [[ -d /var/lib/etcd ]]; then find /var/lib/etcd -mindepth 1 -delete; fi
for link in cni0 flannel.1; do
  if [[ -e /sys/class/net/$link ]]; then ip link delete "$link"; fi
done
# kube-proxy and flannel leave their rules behind; only theirs are taken away.
if command -v nft >/dev/null; then
  for family in ip ip6; do
    for table in kube-proxy flannel-ipv4 flannel-ipv6; do
      nft delete table "$family" "$table" 2>/dev/null || true
    done
  done
fi
for tool in iptables ip6tables; do
  command -v "$tool-save" >/dev/null || continue
  kept=$("$tool-save" 2>/dev/null | grep -Ev 'KUBE-|FLANNEL-') || continue
  "$tool-restore" <<<"$kept" || true
done
echo "$NODE_NAME forgot the cluster"
