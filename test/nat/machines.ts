/**
 * Machines as network namespaces around one router. Needs root and iproute2; where either is missing, `cannotRun` says
 * so. Addresses look like ordinary public ones, since libp2p treats documentation ranges as unroutable; no packet can
 * leave the namespaces.
 */
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import type { TestContext } from 'node:test'

export interface Machine {
  address: string
  /** The command prefix that runs a process there. */
  within: string[]
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
    return { address: `${net}.2`, within: ['ip', 'netns', 'exec', name] }
  })
}
