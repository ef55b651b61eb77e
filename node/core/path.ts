/** Paths inside a content: which are safe to write on any system, and which of them no two files may share. */
import { utf8 } from './encoding.ts'
import { P2pnsError } from './errors.ts'

/** Bytes of a whole path, and of one component: the smallest limits among common systems. */
const MAX_PATH = 1024
const MAX_COMPONENT = 255

const CONTROL = /\p{Cc}/u
const DRIVE = /^[a-z]:/i

/** Throws `path_unsafe` unless `path` is relative, in NFC, and stays below the folder it is put in on any system. */
export function checkPath(path: string): void {
  const refuse = (why: string): never => {
    throw new P2pnsError('path_unsafe', `path ${JSON.stringify(path.slice(0, 80))} was refused: ${why}`)
  }
  if (!path.isWellFormed()) refuse('it is not Unicode text')
  if (utf8(path).length > MAX_PATH) refuse(`it is longer than ${MAX_PATH} bytes`)
  if (path.includes('\\') || CONTROL.test(path)) refuse('it holds a backslash or a control character')
  if (path.normalize('NFC') !== path) refuse('it is not in Unicode form NFC')
  if (path.startsWith('/') || DRIVE.test(path)) refuse('it is absolute')
  for (const part of path.split('/')) {
    if (part === '' || part === '.' || part === '..') refuse('it has an empty, "." or ".." component')
    if (utf8(part).length > MAX_COMPONENT) refuse(`a component is longer than ${MAX_COMPONENT} bytes`)
  }
}

/** Two paths with one key are one file on a system that ignores case or Unicode form. */
export function collisionKey(path: string): string {
  return path.normalize('NFD').toUpperCase().toLowerCase().normalize('NFC')
}

/** The folder that `path` lies in; '' for the content itself. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}
