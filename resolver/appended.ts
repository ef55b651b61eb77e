/**
 * Names of ours with a domain of the network behind them. Where `alice.p2p` is not found, a stub resolver with the search domain
 * `lan` asks for `alice.p2p.lan` (resolv.conf(5)), which would tell the network's DNS server what was looked for.
 */
import { SUFFIX } from '../node/core/name.ts'

/** Whether `name` (lower-case) stands below `.p2p` or `.alt` when one of the domains of `search` is taken off. */
export function isAppended(name: string, search: readonly string[]): boolean {
  return search.some((domain) => {
    const plain = domain.toLowerCase().replace(/^\.|\.$/g, '')
    if (plain === '' || !name.endsWith(`.${plain}`)) return false
    const rest = name.slice(0, -plain.length - 1)
    // `p2p.lan` itself may well be a machine.
    return rest.endsWith(`.${SUFFIX}`) || rest.endsWith('.alt')
  })
}
