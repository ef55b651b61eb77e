/**
 * A connection gater that bounds what a connection may send before it is upgraded. @libp2p/utils reads a length prefix
 * byte by byte without an end, so that before anybody is authenticated one connection sending 7 MB of 0xff cost an
 * introducer 656 MB of memory for 10 s. An honest handshake (multistream-select, noise, yamux) takes about 1 KB.
 */
import type { ConnectionGater, MultiaddrConnection } from '@libp2p/interface'

/** Bytes; room for the first streams of a peer that does not wait for our last word. */
const LIMIT = 64 * 1024

/** The method by which a transport hands over what came; the base class of all its streams has it, its interface not. */
interface Receiving {
  onData(data: { byteLength: number }): void
}

export function handshakeLimit(): ConnectionGater {
  const pending = new Set<string>()
  return {
    // The default refuses private addresses in a browser; here every address may be dialled.
    denyDialMultiaddr: () => false,
    denyInboundConnection(connection) {
      const id = connection.remoteAddr.toString()
      const receiving = connection as MultiaddrConnection & Receiving
      const pass = receiving.onData.bind(connection)
      let received = 0
      pending.add(id)
      connection.addEventListener('close', () => pending.delete(id))
      receiving.onData = (data) => {
        received += data.byteLength
        if (received > LIMIT && pending.has(id)) connection.abort(new Error('too much before the handshake'))
        else pass(data)
      }
      return false
    },
    denyInboundUpgradedConnection(_peer, connection) {
      pending.delete(connection.remoteAddr.toString())
      return false
    },
  }
}
