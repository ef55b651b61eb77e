/** A process of resume.test.ts: `<cid> <out> <port> <ticket id> <ticket secret>`; tells its progress over IPC. */
import { fetchContent } from '../../node/files/fetch.ts'

const [id = '', out = '', port, ticketId = '', secret = ''] = process.argv.slice(2)
const ticket = { id: Buffer.from(ticketId, 'hex'), secret: Buffer.from(secret, 'hex'), expires: 0 }
async function* links() {
  yield { peer: 'seeder', way: { candidates: [{ host: '127.0.0.1', port: Number(port) }], ticket } }
}
const result = await fetchContent({
  id,
  out,
  links: links(),
  random: () => 0,
  signal: new AbortController().signal,
  onProgress: ({ done }) => process.send?.({ done }),
})
process.send?.({ done: result.bytes, result: { resumed: result.resumed, peers: result.peers } }, () =>
  process.disconnect(),
)
