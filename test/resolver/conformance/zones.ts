/** The zones that all servers serve, once as records of ours and once as master files (RFC 1035 section 5). */
import type { TextRecords } from '../harness.ts'

/** `own`: the name under which a zone speaks of itself. */
export function aliceRecords(own: string): TextRecords {
  return [
    { type: 'A', data: '192.0.2.1' },
    { type: 'A', data: '192.0.2.2' },
    { type: 'AAAA', data: '2001:db8::1' },
    { type: 'MX', data: `10 mail.${own}.` },
    { type: 'TXT', data: '"hello world"' },
    { type: 'CAA', data: '0 issue "ca.example.net"' },
    { type: 'HTTPS', data: '1 . alpn="h2,h3" ipv4hint=192.0.2.1' },
    { label: 'mail', type: 'A', data: '192.0.2.25' },
    { label: 'www', type: 'CNAME', data: `${own}.` },
    { label: 'w3', type: 'CNAME', data: `www.${own}.` },
    { label: 'gone', type: 'CNAME', data: `nowhere.${own}.` },
    { label: 'bare', type: 'CNAME', data: `x.deep.${own}.` },
    { label: 'bob', type: 'CNAME', data: 'bob.p2p.' },
    { label: 'loop', type: 'CNAME', data: `loop2.${own}.` },
    { label: 'loop2', type: 'CNAME', data: `loop.${own}.` },
    { label: 'web', type: 'CNAME', data: 'www.example.org.' },
    { label: 'far', type: 'CNAME', data: 'alias.example.org.' },
    { label: 'lost', type: 'CNAME', data: 'gone.example.org.' },
    { label: 'home', type: 'CNAME', data: 'localhost.' },
    { label: 'back', type: 'CNAME', data: 'back.example.org.' },
    { label: 'x.deep', type: 'TXT', data: '"x"' },
    { label: 'a.b.c', type: 'A', data: '192.0.2.3' },
    { label: '_sip._tcp', type: 'SRV', data: `10 5 5060 mail.${own}.` },
    { label: '_foo', type: 'SVCB', data: `16 mail.${own}. mandatory=alpn,port alpn=bar port=8443` },
    { label: 'alias', type: 'SVCB', data: `0 mail.${own}.` },
    { label: 'key', type: 'HTTPS', data: '1 . key667="hello"' },
    { label: 'v6', type: 'HTTPS', data: '1 . ipv6hint=2001:db8::1,2001:db8::53' },
    { label: 'odd', type: 'TYPE65280', data: '\\# 4 01020304' },
    { label: 'odd', type: 'TYPE65281', data: '\\# 0' },
    { label: 'odd', type: 'TYPE65282', data: '\\# 6 c00cc00cc00c' },
    { label: 'two', type: 'TXT', data: '"one" "two"' },
    { label: 'empty', type: 'TXT', data: '""' },
    { label: 'ttl', type: 'A', data: '192.0.2.4', ttl: 60 },
    ...Array.from({ length: 40 }, (_, i) => ({ label: 'big', type: 'A', data: `192.0.2.${100 + i}` })),
    ...Array.from({ length: 20 }, (_, i) => ({ label: 'fits', type: 'A', data: `192.0.2.${100 + i}` })),
    { label: 'to-big', type: 'CNAME', data: `big.${own}.` },
    ...Array.from({ length: 30 }, (_, i) => ({ label: 'huge', type: 'TXT', data: `"${String(i).padEnd(100, '.')}"` })),
    ...Array.from({ length: 10 }, (_, i) => ({ label: `c${i}`, type: 'CNAME', data: `c${i + 1}.${own}.` })),
    { label: 'c10', type: 'A', data: '192.0.2.10' },
    { label: 'a'.repeat(63), type: 'A', data: '192.0.2.63' },
  ]
}

export const bobRecords: TextRecords = [{ type: 'A', data: '192.0.2.9' }]

export function masterFile(apex: string, records: TextRecords, minimum = 300): string {
  const lines = records.map(({ label = '@', type, data, ttl = 300 }) => `${label} ${ttl} IN ${type} ${data}`)
  return [
    `$ORIGIN ${apex}.`,
    `@ ${minimum} IN SOA ${apex}. hostmaster.${apex}. 1700000000 3600 600 172800 ${minimum}`,
    `@ ${minimum} IN NS ns.invalid.`,
    ...lines,
    '',
  ].join('\n')
}
