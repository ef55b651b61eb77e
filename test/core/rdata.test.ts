import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkRdata } from '../../node/core/dns.ts'
import { isError } from '../../node/core/errors.ts'
import { rrFromText, rrToText, txtStrings, typeName, typeNumber } from '../../node/core/rdata.ts'

function shown(type: string, data: string): string {
  return rrToText(rrFromText({ type, data }), 'alice.p2p').data
}

test('every type that has a form of its own is shown as dig shows it', () => {
  const cases: [string, string, string][] = [
    ['A', '192.0.2.1', '192.0.2.1'],
    ['AAAA', '2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['AAAA', 'fe80:0:0:1:0:0:0:1', 'fe80:0:0:1::1'],
    ['AAAA', '::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['CNAME', 'WWW.Alice.p2p', 'www.alice.p2p.'],
    ['NS', 'ns.example.org.', 'ns.example.org.'],
    ['PTR', 'host.example.org', 'host.example.org.'],
    ['DNAME', 'example.org', 'example.org.'],
    ['MX', '10 mail.example.org', '10 mail.example.org.'],
    ['MX', '0 .', '0 .'],
    ['SRV', '1 2 8080 www.alice.p2p', '1 2 8080 www.alice.p2p.'],
    ['SRV', '0 0 0 .', '0 0 0 .'],
    ['TXT', 'hello world', '"hello world"'],
    ['TXT', '', '""'],
    ['TXT', 'say "hi" \\ bye', '"say \\"hi\\" \\\\ bye"'],
    ['TXT', '"one" "t\\"w\\"o" "\\195\\164"', '"one" "t\\"w\\"o" "\\195\\164"'],
    ['TXT', 'ä', '"\\195\\164"'],
    ['CAA', '0 Issue "ca.example.net; account=7"', '0 issue "ca.example.net; account=7"'],
    ['CAA', '128 iodef mailto:a@example.org', '128 iodef "mailto:a@example.org"'],
    ['HTTPS', '\\# 3 000100', '1 .'],
    ['HTTPS', '1 . alpn=h2', '1 . alpn="h2"'],
    ['TYPE65280', '\\# 0', '\\# 0'],
    ['TYPE65280', '\\# 4 0A 0b0C0d', '\\# 4 0a0b0c0d'],
    ['A', '\\# 4 c0000201', '192.0.2.1'],
  ]
  for (const [type, data, expected] of cases) assert.equal(shown(type, data), expected, `${type} ${data}`)
})

/** A text that means itself: no quote says where it ends (RFC 1035 section 5.1), and no `\#` that bytes follow (RFC 3597 section 5). */
function isPlain(text: string): boolean {
  return !text.startsWith('"') && !/^\\#(?:\s|$)/.test(text)
}

test('what is shown can be typed in again', () => {
  const typed = fc.oneof(
    fc.ipV4().map((data) => ({ type: 'A', data })),
    fc.ipV6().map((data) => ({ type: 'AAAA', data })),
    fc
      .string({ unit: 'binary', maxLength: 900 })
      .filter(isPlain)
      .map((data) => ({ type: 'TXT', data })),
    fc.uint8Array({ maxLength: 50 }).map((bytes) => ({
      type: 'TYPE65280',
      data: `\\# ${bytes.length} ${Buffer.from(bytes).toString('hex')}`.trim(),
    })),
    fc.tuple(fc.nat({ max: 65_535 }), fc.domain()).map(([n, to]) => ({ type: 'MX', data: `${n} ${to}` })),
  )
  fc.assert(
    fc.property(typed, (input) => {
      const rr = rrFromText(input)
      checkRdata(rr.type, rr.rdata)
      const again = rrFromText({ type: input.type, data: rrToText(rr, 'alice.p2p').data })
      assert.deepEqual(Buffer.from(again.rdata), Buffer.from(rr.rdata))
    }),
  )
})

test('a TXT keeps any text, in strings of at most 255 bytes, and in quotes also what would mean something else', () => {
  const hard = fc.tuple(fc.constantFrom('"', '""', '"x', '\\#', '\\# x', '\\# 1 00', '\\'), fc.string({ maxLength: 9 }))
  const any = fc.oneof(
    fc.string({ unit: 'grapheme-ascii', maxLength: 1_000 }),
    hard.map((parts) => parts.join('')),
  )
  fc.assert(
    fc.property(any, (text) => {
      const quoted = `"${text.replace(/["\\]/g, '\\$&')}"`
      for (const data of isPlain(text) ? [text, quoted] : [quoted]) {
        const strings = txtStrings(rrFromText({ type: 'TXT', data }).rdata)
        assert.equal(strings.join(''), text)
        for (const one of strings) assert.ok(Buffer.byteLength(one) <= 255)
      }
    }),
  )
})

test('data that does not fit its type is refused by name', () => {
  const bad: [string, string][] = [
    ['A', '1.2.3'],
    ['A', '1.2.3.256'],
    ['A', '::1'],
    ['A', ''],
    ['AAAA', '1.2.3.4'],
    ['AAAA', 'fe80::1%eth0'],
    ['CNAME', ''],
    ['CNAME', 'a..b'],
    ['CNAME', 'with space'],
    ['CNAME', `${'a'.repeat(64)}.b`],
    ['CNAME', '.'],
    ['MX', 'mail.example.org'],
    ['MX', '70000 mail.example.org'],
    ['SRV', '0 0 80'],
    ['SRV', '0 0 99999 a.b'],
    ['SRV', '-1 0 80 a.b'],
    ['TXT', '"open'],
    ['TXT', '"a" b'],
    ['TXT', '"'],
    ['TXT', '"x'],
    ['TXT', '\\#'],
    ['TXT', '\\# x'],
    ['TXT', '\\# 2 0161 x'],
    ['TXT', '"\\999"'],
    ['TXT', 'x'.repeat(70_000)],
    ['CAA', 'issue ca'],
    ['CAA', '256 issue ca'],
    ['HTTPS', '1 . alpn'],
    ['HTTPS', '\\# 2 0001'],
    ['TYPE65280', '\\# 3 0102'],
    ['TYPE65280', '\\# 1 0g'],
    ['A', '\\# 3 010203'],
    ['CNAME', '\\# 2 c00c'],
    ['OPT', '\\# 0'],
    ['ANY', '\\# 0'],
    ['TYPE0', '\\# 0'],
    ['TYPE252', '\\# 0'],
    ['TYPE65536', '\\# 0'],
    ['NONSENSE', 'x'],
    ['constructor', 'x'],
  ]
  for (const [type, data] of bad) {
    assert.throws(
      () => rrFromText({ type, data }),
      (error) => isError(error, 'record_data_invalid'),
      `${type} ${data.slice(0, 40)}`,
    )
  }
})

test('a label below the apex is a host or service label', () => {
  for (const label of ['www', '_http._tcp', 'a.b.c', 'A', '_dnslink']) {
    assert.equal(rrFromText({ label, type: 'A', data: '192.0.2.1' }).name, label.toLowerCase())
  }
  assert.equal(rrFromText({ label: '@', type: 'A', data: '192.0.2.1' }).name, '')
  for (const label of [
    '.',
    'a.',
    '.a',
    'a..b',
    '*',
    '-a',
    'a b',
    'a'.repeat(64),
    `_${'a'.repeat(63)}`,
    'ä',
    'a.'.repeat(100),
  ]) {
    assert.throws(
      () => rrFromText({ label, type: 'A', data: '192.0.2.1' }),
      (error) => isError(error, 'record_data_invalid'),
      label,
    )
  }
})

test('a TTL is 300 seconds unless given, and always between 30 seconds and a day', () => {
  const ttl = (given?: number) =>
    rrFromText({ type: 'A', data: '192.0.2.1', ...(given === undefined ? {} : { ttl: given }) }).ttl
  assert.deepEqual([ttl(), ttl(0), ttl(29), ttl(60), ttl(1e9)], [300, 30, 30, 60, 86_400])
  for (const given of [Number.NaN, -1, Number.POSITIVE_INFINITY])
    assert.throws(
      () => ttl(given),
      (error) => isError(error, 'record_data_invalid'),
    )
})

test('a type has a mnemonic or the form of RFC 3597', () => {
  assert.equal(typeNumber('aaaa'), 28)
  assert.equal(typeNumber('TYPE28'), 28)
  assert.equal(typeNumber('https'), 65)
  assert.equal(typeName(65), 'HTTPS')
  assert.equal(typeName(65_280), 'TYPE65280')
})

test('a record is shown complete, under the name that was asked for', () => {
  const rr = rrFromText({ label: '_http._tcp', type: 'SRV', data: '0 0 80 alice.p2p', ttl: 60 })
  const expected = { name: '_http._tcp.alice.p2p', type: 'SRV', ttl: 60, data: '0 0 80 alice.p2p.' }
  assert.deepEqual(rrToText(rr, 'alice.p2p'), expected)
})

test('malformed data of others is shown as bytes, not refused', () => {
  assert.equal(
    rrToText({ name: '', type: 257, ttl: 1, rdata: Buffer.from('00ff61', 'hex') }, 'a.p2p').data,
    '\\# 3 00ff61',
  )
  assert.equal(rrToText({ name: '', type: 257, ttl: 1, rdata: Buffer.alloc(0) }, 'a.p2p').data, '\\# 0')
})
