/** A machine with a DNS configuration of its own, as namespaces; the real one is not touched. Needs root. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cp, writeFile } from 'node:fs/promises'
import * as path from 'node:path'
import type { TestContext } from 'node:test'
import { temporaryFolder } from '../helpers/folder.ts'
import type { Told } from './dns-guest.ts'

const ROOT = path.join(import.meta.dirname, '..', '..')
const ISOLATE = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']

/** Of the machine, beside loopback. */
export const ADDRESS = '45.10.53.2'

export interface Ran {
  code: number
  stdout: string
  stderr: string
}

/** Why there can be no such machine here, or that `programs` are missing; false: there can. */
export function cannotIsolate(...programs: string[]): string | false {
  if (process.getuid?.() !== 0) return 'needs root to make namespaces'
  if (spawnSync('unshare', [...ISOLATE, 'true']).status !== 0) return 'needs namespaces and `unshare` (util-linux)'
  const missing = ['ip', 'getent', ...programs].filter((name) => spawnSync('which', [name]).status !== 0)
  return missing.length > 0 ? `needs ${missing.join(' and ')}` : false
}

export class DnsMachine {
  readonly #guest: ChildProcess
  readonly #gone: Promise<unknown>
  #calls = 0

  private constructor(guest: ChildProcess) {
    this.#guest = guest
    this.#gone = once(guest, 'exit')
  }

  /** `resolvConf` is a file mounted on its own, as `ip netns exec` and containers have it. */
  static async create(t: TestContext, resolvConf: string): Promise<DnsMachine> {
    const folder = await temporaryFolder(t)
    const etc = path.join(folder, 'etc')
    await cp('/etc', etc, { recursive: true, verbatimSymlinks: true })
    await writeFile(path.join(etc, 'nsswitch.conf'), 'hosts: files dns\n')
    await writeFile(path.join(folder, 'resolv.conf'), resolvConf)
    const setup = `mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/service && mount --bind "$0/etc" /etc &&
      rm -f /etc/resolv.conf && touch /etc/resolv.conf && mount --bind "$0/resolv.conf" /etc/resolv.conf &&
      ip link set lo up && ip link add eth0 type veth peer name cable && ip link set cable up && ip link set eth0 up &&
      ip address add ${ADDRESS}/24 dev eth0 && export PATH="/run/bin:$PATH" && "$@"; exit`
    // Without an address of its own a machine has no use for one of another, and getaddrinfo() asks nobody.
    const command = [process.execPath, path.join(import.meta.dirname, 'dns-guest.ts')]
    const guest = spawn('unshare', [...ISOLATE, 'sh', '-c', setup, folder, ...command], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    t.after(async () => {
      if (guest.exitCode !== null || guest.signalCode !== null) return
      const gone = once(guest, 'exit')
      guest.kill('SIGKILL')
      await gone
    })
    await Promise.race([
      once(guest, 'message'),
      once(guest, 'exit').then(() => Promise.reject(new Error('the machine did not start'))),
    ])
    return new DnsMachine(guest)
  }

  run(...command: [string, ...string[]]): Promise<Ran> {
    return this.#tell({ run: command })
  }

  /** As root on it. */
  p2pns(...args: string[]): Promise<Ran> {
    return this.run(process.execPath, path.join(ROOT, 'cli', 'main.ts'), '--home', '/run/p2pns', ...args)
  }

  /** Starts our resolver, in place of the one before. */
  resolver(port: number, upstream?: string): Promise<void> {
    return this.#tell({ resolver: { port, ...(upstream ? { upstream } : {}) } })
  }

  stopResolver(): Promise<void> {
    return this.#tell({ resolver: 'none' })
  }

  /** Starts a DNS server at ADDRESS that says that every name but .p2p has `address`. */
  outside(address: string): Promise<void> {
    return this.#tell({ outside: { host: ADDRESS, address } })
  }

  /** What that server was asked since the last time. */
  askedOutside(): Promise<string[]> {
    return this.#tell({ asked: true })
  }

  /** What every program of the machine gets to know: the C library is asked. */
  async addressOf(name: string): Promise<string | undefined> {
    const { stdout } = await this.run('getent', 'ahostsv4', name)
    return stdout.split(/\s/)[0] || undefined
  }

  async read(file: string): Promise<string | undefined> {
    const { code, stdout } = await this.run('cat', file)
    return code === 0 ? stdout : undefined
  }

  async write(file: string, text: string): Promise<void> {
    await this.run('mkdir', '-p', path.dirname(file))
    await this.run('sh', '-c', 'printf %s "$1" > "$0"', file, text)
  }

  /** A `service NAME restart` that starts `command` anew and waits until it answers at port 53 of `host`. */
  async service(host: string, command: string): Promise<void> {
    const script = `#!/bin/sh
pid=$(cat /run/service/$1.pid 2>/dev/null) && kill $pid && while kill -0 $pid 2>/dev/null; do sleep 0.05; done
${command} > /run/service/$1.log 2>&1 < /dev/null & echo $! > /run/service/$1.pid
until dig +tries=1 +time=1 @${host} localhost > /dev/null; do kill -0 $! || exit 1; done
`
    await this.write('/run/bin/service', script)
    await this.run('chmod', '+x', '/run/bin/service')
  }

  async #tell<T>(what: Omit<Told, 'id'>): Promise<T> {
    const id = ++this.#calls
    const answer = new Promise<T>((resolve, reject) => {
      const heard = (message: { id: number; result?: T; error?: string }): void => {
        if (message.id !== id) return
        this.#guest.off('message', heard)
        if (message.error === undefined) resolve(message.result as T)
        else reject(new Error(message.error))
      }
      this.#guest.on('message', heard)
      void this.#gone.then(() => reject(new Error('the machine is gone')))
    })
    this.#guest.send({ id, ...what })
    return answer
  }
}
