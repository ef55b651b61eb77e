import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseSvcb, svcbText } from '../../node/core/svcb.ts'

const FOO = '03666f6f076578616d706c6503636f6d00'

test('text becomes the bytes of RFC 9460 appendix D, and is shown so that it can be typed in again', () => {
  const vectors: [text: string, hex: string][] = [
    ['0 foo.example.com.', `0000${FOO}`],
    ['1 .', '000100'],
    ['16 foo.example.com. port=53', `0010${FOO}000300020035`],
    ['1 foo.example.com. key667=hello', `0001${FOO}029b000568656c6c6f`],
    ['1 foo.example.com. key667="hello\\210qoo"', `0001${FOO}029b000968656c6c6fd2716f6f`],
    [
      '1 foo.example.com. ipv6hint="2001:db8::1,2001:db8::53:1"',
      `0001${FOO}0006002020010db800000000000000000000000120010db8000000000000000000530001`,
    ],
    [
      '16 foo.example.com. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1',
      `0010${FOO}0000000400010004000100090268320568332d313900040004c0000201`,
    ],
    ['16 foo.example.com. alpn="f\\\\\\\\oo\\\\,bar,h2"', `0010${FOO}0001000c08665c6f6f2c626172026832`],
    ['16 foo.example.com. alpn=f\\\\\\092oo\\092,bar,h2', `0010${FOO}0001000c08665c6f6f2c626172026832`],
  ]
  for (const [text, hex] of vectors) {
    const rdata = parseSvcb(text)
    assert.equal(rdata.toString('hex'), hex, text)
    assert.deepEqual(parseSvcb(svcbText(rdata) ?? ''), rdata, text)
  }
  assert.equal(svcbText(parseSvcb('1 . ipv4hint=192.0.2.1 alpn=h2')), '1 . alpn="h2" ipv4hint=192.0.2.1')
})

test('what RFC 9460 forbids is refused', () => {
  const bad = [
    '',
    '1',
    'x .',
    '65536 .',
    '1 not..a.name',
    '0 foo. alpn=h2',
    '1 . key123=a key123=b',
    '1 . nonsense=1',
    '1 . key65535=a',
    '1 . alpn',
    '1 . alpn=a,,b',
    '1 . port=65536',
    '1 . ipv4hint=::1',
    '1 . ipv6hint=192.0.2.1',
    '1 . ech=?',
    '1 . no-default-alpn=x alpn=h2',
    '1 . no-default-alpn',
    '1 . mandatory=alpn',
    '1 . mandatory=mandatory',
    '1 . mandatory=port,port port=1',
    '1 . key667="open',
  ]
  for (const text of bad) assert.throws(() => parseSvcb(text), text)
})

test('bytes that are no well-formed record have no text', () => {
  for (const hex of [
    '',
    '0001',
    '000100000300',
    '0001000003000300350000',
    '00010000030002003500010003026832',
    '000100000100020568',
  ]) {
    assert.equal(svcbText(Buffer.from(hex, 'hex')), undefined, hex)
  }
})
