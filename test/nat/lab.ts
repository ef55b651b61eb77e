/** Hosts, routers and introducers in network namespaces of their own, on a public segment with a delay (wire.ts). */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { HOST_FIREWALL, hairpin, IPV6_FIREWALL, type Kind, ROUTERS } from './kinds.ts'
import type { ToWire } from './wire.ts'

/** Milliseconds, one way: a round trip takes 40. */
const DELAY = 20
/** Of the public segment; each site has a /64 in it. */
const IPV6 = '2a0a:50'

/** Why the lab cannot be built here; undefined: it can. */
export function whyNoLab(): string | undefined {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  for (const [command, argument] of [
    ['ip', '-V'],
    ['nft', '-v'],
  ] as const) {
    try {
      execFileSync(command, [argument], { stdio: 'ignore' })
    } catch {
      return `there is no ${command} (Debian: iproute2, nftables)`
    }
  }
  return fs.existsSync('/dev/net/tun') ? undefined : 'there is no /dev/net/tun'
}

export interface HostOptions {
  kind: Kind
  /** Those with the same one share a router, which is as the first of them says. */
  lan?: string
  /** A public IPv6 address too: behind a router, its firewall lets in what answers what went out. */
  ipv6?: boolean
  /** What is sent to the router's own public address from its LAN comes back in; for cone NATs. */
  hairpin?: boolean
}

export interface LabOptions {
  /** Hosts by their name. */
  hosts: Record<string, HostOptions>
  delay?: number
}

interface Device {
  tap: string
  namespace: string
  addresses: string[]
  /** IPv6 addresses on the LAN behind it, for which it answers. */
  behind: string[]
}

interface Lan {
  router: string
  device: Device
  number: number
  /** Of its hosts. */
  count: number
  ipv6: boolean
}

export class Lab implements AsyncDisposable {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'p2pns-lab-'))
  readonly #prefix = `p2l${process.pid}`
  readonly #namespaces = new Set<string>()
  readonly #devices: Device[] = []
  readonly #children = new Set<ChildProcess>()
  #wire: ChildProcess | undefined
  #sites = 0

  static async create({ hosts, delay = DELAY }: LabOptions): Promise<Lab> {
    const lab = new Lab()
    try {
      for (const i of [1, 2]) lab.#public(`introducer${i}`, [`50.0.0.${i}/16`, `${IPV6}::${i}/32`])
      const lans = new Map<string, Lan>()
      for (const [name, options] of Object.entries(hosts)) lab.#host(name, options, lans)
      await lab.#connect(delay)
      return lab
    } catch (error) {
      await lab[Symbol.asyncDispose]()
      throw error
    }
  }

  /** A Node process in the namespace of `host`, with an IPC channel. */
  spawn(host: string, script: string, args: string[] = []): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.#name(host), process.execPath, script, ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    return child
  }

  /** Runs a command in the namespace of `host`, and returns what it prints. */
  run(host: string, command: string, ...args: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.#name(host), command, ...args], { encoding: 'utf8' })
  }

  /** The routers of `host`, the innermost first. */
  routers(host: string): string[] {
    return [...this.#namespaces]
      .filter((name) => name.startsWith(`${this.#name(host)}-r`))
      .map((name) => name.slice(this.#prefix.length + 1))
  }

  /** Of all frames on the public segment, from 0 to 1. */
  lose(loss: number): void {
    this.#wire?.send({ loss } satisfies ToWire)
  }

  /** Keeps all frames that are on the public segment from now on in a file, and resolves to its path. */
  async capture(): Promise<string> {
    const capture = path.join(this.folder, 'capture.pcap')
    this.#wire?.send({ capture } satisfies ToWire)
    if (this.#wire) await once(this.#wire, 'message')
    return capture
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = [...this.#children].filter((child) => child.exitCode === null).map((child) => once(child, 'exit'))
    for (const child of this.#children) child.kill('SIGKILL')
    await Promise.all(gone)
    for (const name of this.#namespaces) tryRun('ip', 'netns', 'del', name)
    const wire = this.#wire
    if (wire && wire.exitCode === null) {
      wire.kill('SIGKILL')
      await once(wire, 'exit')
    }
    fs.rmSync(this.folder, { recursive: true, force: true })
  }

  #name(host: string): string {
    return `${this.#prefix}-${host}`
  }

  #namespace(host: string): string {
    const name = this.#name(host)
    if (this.#namespaces.has(name)) return name
    run('ip', 'netns', 'add', name)
    this.#namespaces.add(name)
    run('ip', '-n', name, 'link', 'set', 'lo', 'up')
    // What home machines have. BBR, where it is the default, takes a round trip of 2 ms from a simultaneous open, and crawls for 10 s.
    tryRun('ip', 'netns', 'exec', name, 'sysctl', '-qw', 'net.ipv4.tcp_congestion_control=cubic')
    // An IPv6 address is of use at once.
    this.run(host, 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0')
    return name
  }

  /** A device on the public segment. */
  #public(host: string, addresses: string[]): Device {
    const namespace = this.#namespace(host)
    const tap = `${this.#prefix}t${this.#devices.length}`.slice(-15)
    const device = { tap, namespace, addresses, behind: [] }
    this.#devices.push(device)
    return device
  }

  #host(name: string, options: HostOptions, lans: Map<string, Lan>): void {
    const { kind, lan: lanName, ipv6 = false } = options
    const known = lanName === undefined ? undefined : lans.get(lanName)
    if (known) return this.#join(name, known)
    const number = ++this.#sites
    const address = `50.0.${1 + Math.floor(number / 200)}.${1 + (number % 200)}`
    const rules = ROUTERS[kind]
    if (rules.length === 0) {
      this.#public(name, [`${address}/16`, ...(ipv6 ? [`${IPV6}:${number}::1/32`] : [])])
      if (kind === 'firewall') nft(this.#name(name), HOST_FIREWALL)
      return
    }
    const routers = rules.map((_, i) => `${name}-r${i}`)
    for (const [i, router] of routers.entries()) {
      const net = i === 0 ? `192.168.${number}` : `100.64.${number}`
      this.#router(router, `${net}.1/24`, rules[i] as string)
      if (i > 0) this.#plug(routers[i - 1] as string, router, `${net}.2/24`, `${net}.1`, 'wan')
    }
    const [inner, outer] = [routers[0] as string, routers.at(-1) as string]
    const device = this.#public(outer, [`${address}/16`])
    const lan = { router: inner, device, number, count: 0, ipv6 }
    if (options.hairpin) nft(this.#name(outer), hairpin(address))
    if (ipv6) this.#routeIpv6(lan)
    this.#join(name, lan)
    if (lanName !== undefined) lans.set(lanName, lan)
  }

  #router(router: string, address: string, rules: string): void {
    const namespace = this.#namespace(router)
    // Of a packet that turns round in it nobody is told a shorter way, which would be one past the NAT.
    const redirects = ['all', 'default'].map((which) => `net.ipv4.conf.${which}.send_redirects=0`)
    this.run(router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', ...redirects)
    // Where the kernel has it: a switch is no router, and one that takes what was translated for a frame of its own drops it.
    tryRun('ip', 'netns', 'exec', namespace, 'sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=0')
    nft(namespace, rules)
    run('ip', '-n', namespace, 'link', 'add', 'lan', 'type', 'bridge')
    run('ip', '-n', namespace, 'link', 'set', 'lan', 'up')
    run('ip', '-n', namespace, 'address', 'add', address, 'dev', 'lan')
  }

  /** Public IPv6 addresses for a LAN: its router is asked for them on the public segment, and answers at once. */
  #routeIpv6({ router, device, number }: Lan): void {
    if (device.namespace !== this.#name(router)) throw new Error('the lab has no IPv6 behind two routers')
    this.run(router, 'sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1', 'net.ipv6.conf.all.proxy_ndp=1')
    nft(device.namespace, IPV6_FIREWALL)
    run('ip', '-n', device.namespace, 'address', 'add', `${IPV6}:${number}::1/64`, 'dev', 'lan')
  }

  /** A host on a LAN. */
  #join(name: string, lan: Lan): void {
    const namespace = this.#namespace(name)
    const { router, number } = lan
    const own = lan.count++ + 2
    this.#plug(name, router, `192.168.${number}.${own}/24`, `192.168.${number}.1`, 'eth0')
    if (!lan.ipv6) return
    const net = `${IPV6}:${number}:`
    run('ip', '-n', namespace, 'address', 'add', `${net}:${own}/64`, 'dev', 'eth0')
    run('ip', '-n', namespace, '-6', 'route', 'add', 'default', 'via', `${net}:1`)
    lan.device.behind.push(`${net}:${own}`)
  }

  /** A cable from `host` to the LAN bridge of `router`. */
  #plug(host: string, router: string, address: string, gateway: string, device: string): void {
    const [inner, outer] = [this.#name(host), this.#name(router)]
    const port = `port${
      this.run(router, 'ip', '-br', 'link')
        .split('\n')
        .filter((line) => line.startsWith('port')).length
    }`
    run('ip', '-n', inner, 'link', 'add', device, 'type', 'veth', 'peer', 'name', port, 'netns', outer)
    run('ip', '-n', outer, 'link', 'set', port, 'master', 'lan', 'up')
    run('ip', '-n', inner, 'link', 'set', device, 'up')
    run('ip', '-n', inner, 'address', 'add', address, 'dev', device)
    run('ip', '-n', inner, 'route', 'add', 'default', 'via', gateway)
  }

  async #connect(delay: number): Promise<void> {
    const options = JSON.stringify({ devices: this.#devices.map(({ tap }) => tap), delay })
    // Each device is read by a thread of its own.
    const env = { ...process.env, UV_THREADPOOL_SIZE: String(this.#devices.length + 4) }
    this.#wire = fork(path.join(import.meta.dirname, 'wire.ts'), [options], { env })
    await once(this.#wire, 'message')
    for (const { tap, namespace, addresses, behind } of this.#devices) {
      run('ip', 'link', 'set', tap, 'netns', namespace, 'name', 'wan')
      run('ip', '-n', namespace, 'link', 'set', 'wan', 'up')
      for (const address of addresses) run('ip', '-n', namespace, 'address', 'add', address, 'dev', 'wan')
      if (behind.length > 0) {
        run('ip', 'netns', 'exec', namespace, 'sysctl', '-qw', 'net.ipv6.neigh.wan.proxy_delay=0')
        run('ip', '-n', namespace, '-6', 'route', 'add', `${IPV6}::/32`, 'dev', 'wan')
      }
      for (const host of behind) run('ip', '-n', namespace, '-6', 'neigh', 'add', 'proxy', host, 'dev', 'wan')
    }
  }
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] })
}

function tryRun(command: string, ...args: string[]): void {
  try {
    execFileSync(command, args, { stdio: 'ignore' })
  } catch {
    // It is gone already.
  }
}

function nft(namespace: string, rules: string): void {
  execFileSync('ip', ['netns', 'exec', namespace, 'nft', '-f', '-'], {
    input: rules,
    stdio: ['pipe', 'ignore', 'inherit'],
  })
}
