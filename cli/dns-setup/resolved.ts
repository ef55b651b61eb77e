/** systemd-resolved: a delegate for .p2p where there are such, else a global DNS server that .p2p is routed to. Pure. */
import { formatHostPort, type HostPort } from '../options.ts'
import type { Facts } from './detect.ts'
import { type Parts, type PlannedFile, service } from './plan.ts'
import { MARK } from './text.ts'

/** The built-in negative trust anchors of systemd 252 (resolved-dns-trust-anchor.c), which any *.negative file replaces. */
const BUILT_IN_NEGATIVE = [
  'home.arpa',
  '10.in-addr.arpa',
  ...Array.from({ length: 16 }, (_, i) => `${16 + i}.172.in-addr.arpa`),
  '170.0.0.192.in-addr.arpa',
  '171.0.0.192.in-addr.arpa',
  '168.192.in-addr.arpa',
  'd.f.ip6.arpa',
  'ipv4only.arpa',
  'corp',
  'home',
  'internal',
  'intranet',
  'lan',
  'local',
  'private',
  'test',
]

export function resolved(facts: Facts, dns: HostPort): Parts {
  const version = Number(/^systemd (\d+)/m.exec(facts.said['resolvectl --version'] ?? '')?.[1] ?? 0)
  const server = formatHostPort(dns)
  const restart = service(facts, 'systemd-resolved')
  const files: PlannedFile[] = []
  const trouble: Parts = {}
  if (version >= 258) {
    files.push({
      path: '/etc/systemd/dns-delegate.d/p2pns.dns-delegate',
      content: `${MARK}[Delegate]\nDNS=${server}\nDomains=~p2p\n`,
    })
  } else {
    files.push({
      path: '/etc/systemd/resolved.conf.d/p2pns.conf',
      content: `${MARK}[Resolve]\nDNS=${server}\nDomains=~p2p\n`,
    })
    if (version > 0 && version < 246) trouble.blocked = `systemd ${version} cannot ask a DNS server at a port; 246 can`
    const { Global = [], ...links } = serversOf(facts)
    const others = Global.filter((other) => other !== server)
    if (others.length > 0) {
      // Of its global servers resolved asks one at a time: ours or theirs, for everything.
      trouble.blocked = `systemd-resolved has the global DNS server ${others[0]}, and would ask either it or us for every name; give that server to a network interface instead, or use systemd 258`
    } else if (Object.keys(links).length > 0 && Object.values(links).flat().length === 0) {
      trouble.blocked =
        'systemd-resolved knows no DNS server of any network interface, and would ask us alone for every name; connect the network first'
    }
  }
  if (/\byes\b|allow-downgrade/.test(facts.said['resolvectl dnssec'] ?? '')) {
    const others = Object.keys(facts.files).filter((file) => file.endsWith('.negative'))
    const names = ['p2p', ...(others.length > 0 ? [] : BUILT_IN_NEGATIVE)]
    files.push({
      path: '/etc/dnssec-trust-anchors.d/p2p.negative',
      content: `${MARK.replaceAll('#', ';')}${names.join('\n')}\n`,
    })
  }
  return { files, commands: restart.commands, undo: restart.commands, notes: restart.notes, ...trouble }
}

/** `resolvectl dns` as a table: `Global: a b`, `Link 2 (eth0): c`. */
function serversOf(facts: Facts): Record<string, string[]> {
  const lines = (facts.said['resolvectl dns'] ?? '').matchAll(/^\s*(Global|Link \d+)[^:\n]*:[ \t]*(.*)$/gm)
  return Object.fromEntries([...lines].map(([, where = '', list = '']) => [where, list.split(/\s+/).filter(Boolean)]))
}
