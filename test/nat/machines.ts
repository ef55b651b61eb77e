/**
 * Machines as network namespaces around one router. Needs root and iproute2; where either is missing, `cannotRun` says
 * so. Addresses look like ordinary public ones, since libp2p treats documentation ranges as unroutable; no packet can
 * leave the namespaces.
 */
import { type ChildProcess, fork, spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import * as path from 'node:path'
import type { TestContext } from 'node:test'
import type { ToWire } from './wire.ts'

export interface Machine {
  address: string
  /** The command prefix that runs a process there. */
  within: string[]
  /** The namespace of the router that it hangs on. */
  router: string
}

function ip(...args: string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`)
}

/** Why namespaces cannot be made here, or false. */
export function cannotRun(): string | false {
  if (process.getuid?.() !== 0) return 'needs root to make network namespaces'
  const name = `p2pns-probe-${randomInt(1e6)}`
  const probe = spawnSync('ip', ['netns', 'add', name])
  if (probe.error || probe.status !== 0) return 'needs `ip netns` (iproute2)'
  spawnSync('ip', ['netns', 'del', name])
  return false
}

/** `count` machines, each on a link of its own, joined by a router; gone after the test. */
export function createMachines(t: Pick<TestContext, 'after'>, count: number): Machine[] {
  const lab = `p2pns${randomInt(1e6)}`
  const router = `${lab}r`
  const names = Array.from({ length: count }, (_, i) => `${lab}m${i}`)
  t.after(() => [router, ...names].forEach((name) => spawnSync('ip', ['netns', 'del', name])))
  ip('netns', 'add', router)
  spawnSync('ip', ['netns', 'exec', router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1'])
  return names.map((name, i) => {
    const [net, link] = [`45.10.${i + 1}`, `l${i}`]
    ip('netns', 'add', name)
    ip('-n', name, 'link', 'set', 'lo', 'up')
    ip('link', 'add', 'wan', 'netns', name, 'type', 'veth', 'peer', 'name', link, 'netns', router)
    ip('-n', name, 'addr', 'add', `${net}.2/24`, 'dev', 'wan')
    ip('-n', name, 'link', 'set', 'wan', 'up')
    ip('-n', router, 'addr', 'add', `${net}.1/24`, 'dev', link)
    ip('-n', router, 'link', 'set', link, 'up')
    ip('-n', name, 'route', 'add', 'default', 'via', `${net}.1`)
    return { address: `${net}.2`, within: ['ip', 'netns', 'exec', name], router }
  })
}

export interface FarMachine extends Machine {
  /** From 0 to 1, of all frames between it and the others. */
  lose(loss: number): void
}

/** Another machine of those around `router`, at the end of a link that takes `delay` ms each way (wire.ts); gone after the test. */
export async function createFarMachine(
  t: Pick<TestContext, 'after'>,
  router: string,
  delay: number,
): Promise<FarMachine> {
  const name = `${router}far`
  const ends = [
    { device: `p2pf${randomInt(1e6)}`, namespace: name, address: '45.11.0.2' },
    { device: `p2pf${randomInt(1e6)}`, namespace: router, address: '45.11.0.1' },
  ]
  ip('netns', 'add', name)
  const options = JSON.stringify({ devices: ends.map(({ device }) => device), delay })
  const wire: ChildProcess = fork(path.join(import.meta.dirname, 'wire.ts'), [options])
  t.after(async () => {
    spawnSync('ip', ['netns', 'del', name])
    if (wire.exitCode === null && wire.kill('SIGKILL')) await once(wire, 'exit')
  })
  await once(wire, 'message')
  ip('-n', name, 'link', 'set', 'lo', 'up')
  for (const { device, namespace, address } of ends) {
    ip('link', 'set', device, 'netns', namespace, 'name', 'far')
    ip('-n', namespace, 'addr', 'add', `${address}/24`, 'dev', 'far')
    ip('-n', namespace, 'link', 'set', 'far', 'up')
  }
  ip('-n', name, 'route', 'add', 'default', 'via', '45.11.0.1')
  return {
    address: '45.11.0.2',
    within: ['ip', 'netns', 'exec', name],
    router,
    lose: (loss) => void wire.send({ loss } satisfies ToWire),
  }
}
