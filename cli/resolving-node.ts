/** A node that answers DNS as well: what changes its names empties the resolver's cache, its status says where, and its log is the resolver's. */
import type { P2pnsNode, Status } from '../node/contract.ts'
import type { Resolver } from '../resolver/index.ts'
import { dnsLog } from './dns-log.ts'
import { formatHostPort } from './options.ts'

export function resolvingNode(node: P2pnsNode, resolver: Resolver): P2pnsNode {
  async function change<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } finally {
      resolver.clear()
    }
  }
  return {
    ...node,
    register: (request, job) => change(node.register(request, job)),
    share: (path, options) => change(node.share(path, options)),
    clearCache: () => change(node.clearCache()),
    transfer: (request, job) => change(node.transfer(request, job)),
    rotate: (request, job) => change(node.rotate(request, job)),
    release: (request, job) => change(node.release(request, job)),
    renew: (request, job) => change(node.renew(request, job)),
    setPetname: (pet, target, options) => change(node.setPetname(pet, target, options)),
    acceptOwner: (name, keyName) => change(node.acceptOwner(name, keyName)),
    forget: (name) => change(node.forget(name)),
    reportProof: (proof) => change(node.reportProof(proof)),
    dnsLog: (signal) => dnsLog(resolver, signal),
    status: async () => ({ ...(await node.status()), ...placesOf(resolver) }),
  }
}

function placesOf(resolver: Resolver): Pick<Status, 'dns' | 'doh' | 'dot'> {
  const { doh, dot } = resolver
  return { dns: formatHostPort(resolver), ...(doh && { doh }), ...(dot && { dot: formatHostPort(dot) }) }
}
