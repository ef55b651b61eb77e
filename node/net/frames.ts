/** Length-prefixed frames over a libp2p stream, with every bound that a hostile other side could lean against. */
import type { Stream } from '@libp2p/interface'
import { type LengthPrefixedStream, lpStream } from '@libp2p/utils'
import { decode } from 'uint8-varint'
import { P2pnsError } from '../core/errors.ts'

/** Bytes of a length prefix: enough for frames of 2 MiB. */
const MAX_PREFIX_BYTES = 3
/** Frames that may have come before they are read; a stream that is further ahead is cut. */
const MAX_UNREAD_FRAMES = 64

/** `maxBytes` of one frame, either way. A longer one ends the stream with an error at the next read. */
export function framesOf(stream: Stream, maxBytes: number): LengthPrefixedStream<Stream> {
  return lpStream(stream, {
    maxDataLength: maxBytes,
    maxBufferSize: maxBytes * MAX_UNREAD_FRAMES,
    // The library reads an endless prefix byte by byte into memory: 4 MB of 0xff cost 700 MB and 13 s.
    lengthDecoder(prefix) {
      if (prefix.length > MAX_PREFIX_BYTES) throw new P2pnsError('frame_invalid', 'A frame has an endless length')
      return decode(prefix)
    },
  })
}
