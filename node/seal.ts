/**
 * Text locked with a passphrase: an age file (age-encryption.org/v1, scrypt recipient) in its ASCII armor, which the `age`
 * tool opens too.
 */
import { P2pnsError } from './core/errors.ts'

const HEAD = '-----BEGIN AGE ENCRYPTED FILE-----'
/** Base-2 logarithm of scrypt's N: some 1 s and 256 MB for each guess, age's own default. */
const WORK_FACTOR = 18

export function isSealed(text: string): boolean {
  return text.startsWith(HEAD)
}

/** `workFactor` is the base-2 logarithm of scrypt's N. */
export async function seal(text: string, passphrase: string, workFactor = WORK_FACTOR): Promise<string> {
  if (passphrase === '') throw new P2pnsError('usage', 'An empty passphrase locks nothing')
  const { armor, Encrypter } = await import('age-encryption')
  const encrypter = new Encrypter()
  encrypter.setScryptWorkFactor(workFactor)
  encrypter.setPassphrase(passphrase)
  return `${armor.encode(await encrypter.encrypt(text)).trimEnd()}\n`
}

/** Errors: passphrase_wrong, also for a damaged file, as far as the two cannot be told apart; malformed. */
export async function unseal(sealed: string, passphrase: string): Promise<string> {
  const { armor, Decrypter } = await import('age-encryption')
  let file: Uint8Array
  try {
    file = armor.decode(sealed)
  } catch (cause) {
    throw new P2pnsError('malformed', 'It is not a whole age file', { cause })
  }
  const decrypter = new Decrypter()
  decrypter.addPassphrase(passphrase)
  try {
    return await decrypter.decrypt(file, 'text')
  } catch (cause) {
    if (/no identity matched/.test((cause as Error).message)) {
      throw new P2pnsError('passphrase_wrong', 'The passphrase does not fit', { cause })
    }
    throw new P2pnsError('malformed', 'The age file is damaged', { cause })
  }
}
