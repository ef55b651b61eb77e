/** hyperdht (npm) in the lab of NATs: a DHT of its own on the introducers' hosts, and peers. Nobody relays for it. */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { ask, ready } from '../../nat/calls.ts'
import type { Lab } from '../../nat/lab.ts'
import type { Opened } from '../../nat/reach-peer.ts'

const VERSION = '6.34.0'
/** On each of the two hosts: a peer judges its NAT by what four nodes say of it, and leaves out five when it knows eight. */
const NODES = 6
const PEER = path.join(import.meta.dirname, 'hyperdht-peer.ts')

function install(folder: string): string {
  const place = path.join(folder, 'hyperdht')
  fs.mkdirSync(place)
  fs.writeFileSync(path.join(place, 'package.json'), '{}')
  const args = ['--silent', '--no-audit', '--no-fund', '--prefix', place]
  execFileSync('npm', ['install', ...args, `hyperdht@${VERSION}`], { stdio: 'pipe' })
  return place
}

/** Once `hosts` listen: reaches the second from the first. */
export async function startHyperdht(
  lab: Lab,
  hosts: string[],
): Promise<(from: string, to: string, timeout: number) => Promise<Opened[]>> {
  const modules = install(lab.folder)
  const nodes: string[] = []
  for (const i of [1, 2]) {
    const args = [modules, 'nodes', String(NODES), `50.0.0.${i}`, ...nodes]
    nodes.push(await ready(lab.spawn(`introducer${i}`, PEER, args)))
  }
  const peers = new Map(hosts.map((host) => [host, lab.spawn(host, PEER, [modules, 'peer', ...nodes])]))
  const keys = new Map(await Promise.all([...peers].map(async ([host, child]) => [host, await ready(child)] as const)))
  return async (from, to, timeout) => {
    const caller = peers.get(from)
    if (!caller) throw new Error(`there is no ${from}`)
    return await ask<Opened[]>(caller, { peer: keys.get(to), timeout })
  }
}
