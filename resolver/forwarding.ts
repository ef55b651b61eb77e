/** From the options of a resolver to what asks others in its place, and to which names may lead where. */
import { P2pnsError } from '../node/core/errors.ts'
import { isAppended } from './appended.ts'
import { CachingForwarder } from './forward.ts'
import { type MayBePrivate, privacyRule } from './rebinding.ts'
import { Servers } from './servers.ts'
import { isSelf, systemDns } from './system-servers.ts'
import { parseServer, type Server } from './upstream.ts'
import { readResponse } from './upstream-answer.ts'

export interface ForwardingOptions {
  /**
   * The resolvers that are asked for all names but ours, the preferred first: `IP:port`, an IP, or `system` for those that the
   * system used. None: such names are refused.
   */
  upstream?: string | readonly string[]
  /** Names that may lead to private addresses: all, or those below these. Default: only names that nobody outside can own. */
  allowPrivate?: boolean | readonly string[]
}

export interface Forwarding {
  /** Undefined: nobody is asked. */
  forwarder: CachingForwarder | undefined
  mayBePrivate: MayBePrivate
}

const SYSTEM = 'system'

/** `self`, which may learn its port later, is never asked. `now`: ms. Throws `usage`. */
export function openForwarding(
  { upstream = [], allowPrivate = false }: ForwardingOptions,
  self: Server,
  now: () => number,
): Forwarding {
  const given = [upstream].flat().map((one) => (one === SYSTEM ? one : parseServer(one)))
  for (const one of given) {
    if (one !== SYSTEM && isSelf(self, one)) throw new P2pnsError('usage', `${one.host} is this resolver itself`)
  }
  const system = systemDns((server) => isSelf(self, server), now)
  const search = (): readonly string[] => (given.includes(SYSTEM) ? system().search : [])
  const mayBePrivate = privacyRule(allowPrivate, search)
  if (given.length === 0) return { forwarder: undefined, mayBePrivate }
  const servers = new Servers({
    list: () => given.flatMap((one) => (one === SYSTEM ? system().servers : [one])),
    read: (question, response) => readResponse(question, response, mayBePrivate),
    now,
  })
  const forwarder = new CachingForwarder({
    ask: (question, signal) => servers.ask(question, signal),
    gone: () => servers.gone,
    withheld: (name) => isAppended(name, search()),
    now,
  })
  return { forwarder, mayBePrivate }
}
