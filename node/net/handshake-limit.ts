/**
 * A connection gater that bounds what strangers hold and send. @libp2p/utils reads a length prefix byte by byte without
 * an end, so that before anybody is authenticated one connection sending 7 MB of 0xff cost an introducer 656 MB of
 * memory for 10 s. An honest handshake (multistream-select, noise, yamux) takes about 1 KB.
 */
import type { ConnectionGater, MultiaddrConnection } from '@libp2p/interface'
import { addressBlock } from '../core/hosts.ts'
import { Crowd } from './crowd.ts'
import { hostOf } from './peers.ts'

/** Bytes; room for the first streams of a peer that does not wait for our last word. */
const LIMIT = 64 * 1024
/** Connections of one address block, with those in a handshake; private addresses have no such limit. */
const MAX_BLOCK = 128
/** Handshakes at a time, below libp2p's own limit for an introducer, which would turn newcomers away for 10 s. */
const MAX_PENDING = 512

/** The method by which a transport hands over what came; the base class of all its streams has it, its interface not. */
interface Receiving {
  onData(data: { byteLength: number }): void
}

export function handshakeLimit(): ConnectionGater {
  const [open, pending] = [new Crowd<MultiaddrConnection>(), new Crowd<MultiaddrConnection>()]
  return {
    // The default refuses private addresses in a browser; here every address may be dialled.
    denyDialMultiaddr: () => false,
    denyInboundConnection(connection) {
      const host = hostOf(connection.remoteAddr)?.host ?? ''
      if (addressBlock(host) !== undefined && open.from(host) >= MAX_BLOCK) return true
      open.enter(connection, host)
      pending.enter(connection, host)
      connection.addEventListener('close', () => {
        open.leave(connection)
        pending.leave(connection)
      })
      if (pending.size > MAX_PENDING) pending.evict()?.abort(new Error('others come from elsewhere'))
      const receiving = connection as MultiaddrConnection & Receiving
      const pass = receiving.onData.bind(connection)
      let received = 0
      receiving.onData = (data) => {
        received += data.byteLength
        if (received > LIMIT && pending.has(connection)) connection.abort(new Error('too much before the handshake'))
        else pass(data)
      }
      return false
    },
    denyInboundUpgradedConnection(_peer, connection) {
      pending.leave(connection)
      return false
    },
  }
}
