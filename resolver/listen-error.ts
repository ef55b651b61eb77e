import { P2pnsError } from '../node/core/errors.ts'
import type { HostPort } from '../node/core/hosts.ts'

/** Why it is not possible to listen there, as a person reads it: `port_in_use`, `usage`, or the system's error itself. */
export function listenError({ host, port }: HostPort, cause: unknown): unknown {
  const { code } = cause as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') return new P2pnsError('port_in_use', `${host} port ${port} is in use`, { cause })
  if (code !== 'EACCES' && code !== 'EADDRNOTAVAIL') return cause
  const why = code === 'EACCES' ? 'is not allowed to this user' : 'is not on this machine'
  return new P2pnsError('usage', `${host} port ${port} ${why}`, { cause })
}
