/** What makes each system ask us for .p2p: the files with what is to be in them, and the commands. Pure. */
import { formatHostPort, type HostPort } from '../options.ts'
import { type Facts, isLoopback, nameserversIn, RESOLV_CONF, type System, usesDnsmasq } from './detect.ts'
import { type Parts, type Plan, type PlannedFile, service } from './plan.ts'
import { resolved } from './resolved.ts'
import { inBlock, MARK, withNameserver } from './text.ts'

/** `dns` is where our resolver answers; an address, not a name. */
export function planFor(system: System, facts: Facts, dns: HostPort): Plan {
  return {
    system,
    dns,
    files: [],
    commands: [],
    undo: [],
    notes: [],
    takesAll: false,
    ...PLANS[system](facts, dns),
    ...elsewhere(system, facts),
  }
}

function elsewhere(system: System, { platform }: Facts): Parts {
  const home = { macos: 'darwin', windows: 'win32' }[system as string]
  const isHere = home === undefined ? platform !== 'darwin' && platform !== 'win32' : platform === home
  return isHere ? {} : { blocked: `this machine has no ${system}` }
}

const PLANS: Record<System, (facts: Facts, dns: HostPort) => Parts> = {
  'systemd-resolved': resolved,
  networkmanager: networkManager,
  unbound,
  dnsmasq,
  resolvconf,
  'resolv.conf': resolvConf,
  macos,
  windows,
}

/** dnsmasq(8): --server. A server of one domain is not asked for DNSSEC unless that domain has a trust anchor. */
function dnsmasqLine({ host, port }: HostPort): string {
  return `server=/p2p/${host}#${port}\n`
}

function networkManager(facts: Facts, dns: HostPort): Parts {
  const reload = ['nmcli', 'general', 'reload']
  const files: PlannedFile[] = [
    { path: '/etc/NetworkManager/dnsmasq.d/p2pns.conf', content: `${MARK}${dnsmasqLine(dns)}` },
  ]
  if (usesDnsmasq(facts)) {
    const commands = [[...reload, 'dns-full']]
    return { files, commands, undo: commands }
  }
  files.push({ path: '/etc/NetworkManager/conf.d/p2pns.conf', content: `${MARK}[main]\ndns=dnsmasq\n` })
  const commands = [
    [...reload, 'conf'],
    [...reload, 'dns-rc'],
    [...reload, 'dns-full'],
  ]
  return {
    files,
    commands,
    undo: commands,
    notes: ['NetworkManager runs dnsmasq from now on: it asks the DNS servers of your network for all but .p2p'],
    ...(facts.commands.includes('dnsmasq')
      ? {}
      : {
          blocked:
            'NetworkManager can ask two DNS servers only through dnsmasq, which is not installed (Debian, Fedora: dnsmasq-base, dnsmasq)',
        }),
  }
}

function dnsmasq(facts: Facts, dns: HostPort): Parts {
  const main = '/etc/dnsmasq.conf'
  const folder =
    /^\s*conf-dir\s*=\s*([^,\s]+)/m.exec(facts.files[main] ?? '')?.[1] ??
    /^\s*CONFIG_DIR=["']?([^,"'\s]+)/m.exec(facts.files['/etc/default/dnsmasq'] ?? '')?.[1]
  const restart = service(facts, 'dnsmasq')
  const file: PlannedFile = folder
    ? { path: `${folder}/p2pns.conf`, content: `${MARK}${dnsmasqLine(dns)}` }
    : { path: main, content: inBlock(facts.files[main] ?? '', dnsmasqLine(dns)), edits: true }
  return {
    files: [file],
    // It reads its configuration only when it starts.
    commands: [['dnsmasq', '--test', `--conf-file=${file.path}`], ...restart.commands],
    undo: restart.commands,
    notes: restart.notes,
  }
}

function unbound(facts: Facts, { host, port }: HostPort): Parts {
  const main = '/etc/unbound/unbound.conf'
  const text = facts.files[main] ?? ''
  const folder = /^\s*include(?:-toplevel)?:\s*"?([^"\s]*conf\.d)\/\*\.conf/m.exec(text)?.[1]
  // The server clause comes last, so that what stands after an `include:` of this file is still in one.
  const lines = `forward-zone:
    name: "p2p"
    forward-addr: ${host}@${port}
server:
    do-not-query-localhost: no
    domain-insecure: "p2p"
`
  const restart = service(facts, 'unbound')
  return {
    files: [
      folder
        ? { path: `${folder}/p2pns.conf`, content: `${MARK}${lines}` }
        : { path: main, content: inBlock(text, lines), edits: true },
    ],
    commands: [['unbound-checkconf'], ...restart.commands],
    undo: restart.commands,
    notes: restart.notes,
  }
}

function resolvconf(facts: Facts, dns: HostPort): Parts {
  const open = '/etc/resolvconf.conf'
  const head = '/etc/resolvconf/resolv.conf.d/head'
  const file: PlannedFile =
    facts.files[open] === undefined
      ? { path: head, content: inBlock(facts.files[head] ?? '', `nameserver ${dns.host}\n`), edits: true }
      : {
          path: open,
          // Without the second line openresolv names no other server beside a local one, which is right for musl.
          content: inBlock(
            facts.files[open] ?? '',
            `name_servers="${dns.host}\${name_servers:+ $name_servers}"\n${facts.isMusl ? '' : 'resolv_conf_local_only=NO\n'}`,
          ),
          edits: true,
        }
  const commands = [['resolvconf', '-u']]
  return { files: [file], commands, undo: commands, ...allThroughUs(facts, dns) }
}

function resolvConf(facts: Facts, dns: HostPort): Parts {
  const text = facts.files[RESOLV_CONF] ?? ''
  const target = facts.links[RESOLV_CONF]
  const [first] = nameserversIn(text)
  const content = withNameserver(text, dns.host, facts.isMusl)
  const parts = { files: [{ path: RESOLV_CONF, content, edits: true as const }], ...allThroughUs(facts, dns) }
  const notes = [...parts.notes, `whatever writes ${RESOLV_CONF} anew, such as a DHCP client, undoes this`]
  if (target !== undefined) {
    return { ...parts, notes, blocked: `${RESOLV_CONF} is a link to ${target}, so another program writes it` }
  }
  if (first !== undefined && isLoopback(first)) {
    return {
      ...parts,
      notes,
      blocked: `this machine asks a DNS server of its own, at ${first}, which is not one that this command knows; let it forward the zone p2p to ${formatHostPort(dns)}, or name it with --system`,
    }
  }
  return { ...parts, notes }
}

/** resolv.conf names hosts, without ports and for every name (resolv.conf(5)). */
function allThroughUs(facts: Facts, { host, port }: HostPort): { takesAll: true; notes: string[]; blocked?: string } {
  // With musl the old servers are not in the file any more, so `system` would find none.
  const old = facts.isMusl
    ? nameserversIn(facts.files[RESOLV_CONF] ?? '').find((server) => !isLoopback(server))
    : 'system'
  const up = `p2pns up --dns ${formatHostPort({ host, port: 53 })} --upstream ${old ?? 'ADDRESS'}`
  const notes = [`our resolver gets every question, so it has to forward all but .p2p: ${up}`]
  if (port === 53) return { takesAll: true, notes }
  const blocked = `resolv.conf knows no ports and no domains: our resolver has to be at port 53, not ${port}, and to forward the rest: ${up}; then give --dns ${host}:53 here. dnsmasq or unbound in between need neither`
  return { takesAll: true, notes, blocked }
}

function macos(_facts: Facts, { host, port }: HostPort): Parts {
  const commands = [
    ['dscacheutil', '-flushcache'],
    ['killall', '-HUP', 'mDNSResponder'],
  ]
  return {
    files: [{ path: '/etc/resolver/p2p', content: `${MARK}nameserver ${host}\nport ${port}\n` }],
    commands,
    undo: commands,
    notes: ['dig, host and nslookup do not look there; `dscacheutil -q host -a name NAME` does'],
  }
}

function windows(_facts: Facts, dns: HostPort): Parts {
  const powershell = (script: string): string[] => [
    'powershell.exe',
    '-NoProfile',
    '-NonInteractive',
    '-Command',
    `$ErrorActionPreference = 'Stop'; ${script}`,
  ]
  const rules = "Get-DnsClientNrptRule | Where-Object { $_.Namespace -contains '.p2p'"
  const remove = `${rules} -and $_.Comment -eq 'p2pns' } | Remove-DnsClientNrptRule -Force`
  const foreign = `if (${rules} -and $_.Comment -ne 'p2pns' }) { throw 'there is a rule for .p2p that is not ours' }`
  const add = `Add-DnsClientNrptRule -Namespace '.p2p' -NameServers '${dns.host}' -Comment 'p2pns'`
  return {
    commands: [powershell(`${foreign}; ${remove}; ${add}; Clear-DnsClientCache`)],
    undo: [powershell(`${remove}; Clear-DnsClientCache`)],
    notes: ['run it as administrator; nslookup does not use these rules, Resolve-DnsName does'],
    ...(dns.port === 53
      ? {}
      : {
          blocked: `a rule of Windows names no port: our resolver has to be at port 53, not ${dns.port}: p2pns up --dns 127.0.0.1:53 (or 127.0.0.53:53 where that is taken); then give the same --dns here`,
        }),
  }
}
