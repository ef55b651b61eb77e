/** Records on the network: introducers and the DHT asked at once; what each says proves itself. */
import type { Bytes } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import { compareRecords, isUntimely } from '../core/records.ts'
import type { Trace } from '../core/trace.ts'
import type { Dht } from './dht.ts'
import { type Introducer, putToAll } from './introducers.ts'

/**
 * Milliseconds that a connected introducer is ahead of the DHT, which asks many for one answer: that work, here and there, made the
 * introducer's own answer take two and a half times as long.
 */
const HEAD_START_MS = 150

export interface NetworkRecord {
  value: Bytes
  source: 'introducer' | 'dht'
  /** Nobody answered, and this is what this node keeps for others: it may have been replaced long ago. */
  alone?: true
}

export interface GetOptions {
  signal?: AbortSignal
  /**
   * `first`: the first valid answer, and `onNewer` is told of any newer one that comes later. `best`: every source is
   * heard first, for whoever is about to write.
   */
  wait?: 'first' | 'best'
  onNewer?: (record: NetworkRecord) => void
  /**
   * Told of the other valid answers, those that are thrown away, since two leases of one name may prove a lie: at once or
   * after the result is there, and maybe of the same one several times.
   */
  onSeen?: (record: NetworkRecord) => void
  trace?: Trace
}

/** A record network as names and publisher see it; tests pass one without sockets. */
export interface RecordNetwork {
  /**
   * Undefined when those who answered have none. Errors: network_unreachable when nobody answered, interrupted; clock_wrong or
   * seq_in_future when others keep a record that only this machine's clock is against.
   */
  get(key: Bytes, options?: GetOptions): Promise<NetworkRecord | undefined>
  /** How many others stored it, introducers included. Errors: record_older. */
  put(key: Bytes, value: Bytes, signal?: AbortSignal): Promise<number>
}

export function createRecordNetwork(dht: Dht, introducers: readonly Introducer[], now: () => number): RecordNetwork {
  return {
    get: (key, options = {}) => race(key, options),
    async put(key, value, signal) {
      const [direct, stored] = await Promise.all([
        putToAll(introducers, key, value, signal),
        dht.put(key, value, signal ? { signal } : {}),
      ])
      return direct + stored
    },
  }

  async function race(key: Bytes, options: GetOptions): Promise<NetworkRecord | undefined> {
    const { signal, wait = 'first', onNewer, onSeen, trace } = options
    const { promise, resolve, reject } = Promise.withResolvers<NetworkRecord | undefined>()
    let best: NetworkRecord | undefined
    let firstError: unknown
    let untimely: P2pnsError | undefined
    let someAnswered = false
    let kept: Bytes | undefined
    const ask = async (source: NetworkRecord['source'], who: string, question: Promise<Bytes | undefined>) => {
      try {
        const value = await question
        someAnswered = true
        trace?.(`${who}: ${value === undefined ? 'no record' : `a record of ${value.length} bytes`}`)
        if (value === undefined) return
        const last = best
        if (last !== undefined && compareRecords(key, value, last.value, now()) <= 0) return onSeen?.({ value, source })
        best = { value, source }
        if (wait === 'best') {
          if (last !== undefined) onSeen?.(last)
        } else if (last === undefined) resolve(best)
        else onNewer?.(best)
      } catch (error) {
        trace?.(`${who}: ${isError(error) ? error.what : 'no answer'}`)
        if (isUntimely(error)) untimely ??= error
        firstError ??= error
      }
    }
    const askDht = async () => {
      const found = await dht.get(key, {
        ...(signal ? { signal } : {}),
        ...(onSeen ? { onSeen: (value) => onSeen({ value, source: 'dht' }) } : {}),
      })
      if (!found?.alone) return found?.value
      kept = found.value
      throw new P2pnsError('network_unreachable', 'No node of the network answered')
    }
    const direct = introducers.map((introducer) =>
      ask('introducer', `introducer ${introducer.peerId}`, introducer.get(key, signal)),
    )
    const isQuick = wait === 'first' && introducers.some(({ connected }) => connected)
    const started = isQuick ? headStart(direct) : undefined
    const others = started ? started.then(() => ask('dht', 'DHT', askDht())) : ask('dht', 'DHT', askDht())
    void Promise.all([...direct, others]).then(() => {
      if (kept !== undefined && (best === undefined || compareRecords(key, kept, best.value, now()) > 0)) {
        return resolve({ value: kept, source: 'dht', ...(someAnswered ? {} : { alone: true }) })
      }
      if (best !== undefined) return resolve(best)
      // Half of an answer is none: the rest might have had the record.
      if (signal?.aborted) return reject(new P2pnsError('interrupted', 'The lookup was stopped', { cause: firstError }))
      if (untimely !== undefined) return reject(clockError(untimely))
      if (someAnswered) return resolve(undefined)
      const what = isError(firstError) ? firstError.what : 'The network could not be asked'
      reject(new P2pnsError('network_unreachable', what, { cause: firstError }))
    })
    return promise
  }
}

/** Resolves when the first of them has answered, or has had the time for it. */
async function headStart(asked: readonly Promise<void>[]): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, HEAD_START_MS)
  await Promise.race([...asked, promise])
  clearTimeout(timer)
}

/** Nodes drop a lease when it ends, so one that is still kept has ended by this machine's clock only. */
function clockError(error: P2pnsError): P2pnsError {
  if (error.code !== 'lease_expired') return error
  return new P2pnsError('clock_wrong', `${error.what} by this machine's clock, and others still keep it`, {
    cause: error,
  })
}
