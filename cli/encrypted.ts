/** The options of DNS over HTTPS and TLS, from what was typed to what a resolver takes. */
import * as path from 'node:path'
import type { Command } from 'commander'
import { P2pnsError } from '../node/core/errors.ts'
import type { EncryptedOptions } from '../resolver/index.ts'
import { type CertificateFiles, readCertificate } from './certificate.ts'
import { type HostPort, hostPort } from './options.ts'
import type { Session } from './session.ts'

export interface EncryptedFlags {
  doh?: HostPort
  dot?: HostPort
  cert?: string
  key?: string
}

export function addEncryptedOptions(command: Command): Command {
  return command
    .option('--doh <host:port>', 'where it answers DNS over HTTPS as well, for browsers', hostPort)
    .option('--dot <host:port>', 'where it answers DNS over TLS as well', hostPort)
    .option('--cert <file>', 'certificate for both, with its chain, as PEM; read again when it changes')
    .option('--key <file>', 'private key of the certificate, as PEM')
}

/** `files`: where the certificate comes from. Notes are shown at once. Errors: usage, file_missing, certificate_invalid. */
export async function encryptedFrom(
  { doh, dot, cert, key }: EncryptedFlags,
  { cwd, output, now }: Session,
): Promise<EncryptedOptions & { files?: CertificateFiles }> {
  if (cert === undefined && key === undefined) return { doh, dot }
  if (cert === undefined || key === undefined) {
    throw new P2pnsError('usage', 'A certificate needs its key: give both, --cert FILE --key FILE')
  }
  if (!doh && !dot) throw new P2pnsError('usage', '--cert and --key are for --doh or --dot, and neither was given')
  const files = { cert: path.resolve(cwd, cert), key: path.resolve(cwd, key) }
  const { tls, notes } = await readCertificate(files, now())
  for (const line of notes) output.note(line)
  return { doh, dot, tls, files }
}
