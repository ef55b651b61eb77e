/** Files that are read again and again stay open, a few of them; one that is being read is not closed. */
import * as fs from 'node:fs/promises'

/** Symbolic links are not followed. */
const FLAGS = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW

interface Open {
  handle: Promise<fs.FileHandle>
  readers: number
}

export class OpenFiles {
  readonly #max: number
  /** The longest unused first. */
  readonly #files = new Map<string, Open>()

  constructor(max: number) {
    this.#max = max
  }

  /** Fails as the system does. */
  async read<Result>(file: string, work: (handle: fs.FileHandle) => Promise<Result>): Promise<Result> {
    const open = this.#files.get(file) ?? { handle: fs.open(file, FLAGS), readers: 0 }
    this.#files.delete(file)
    this.#files.set(file, open)
    open.readers++
    try {
      return await work(await open.handle)
    } catch (cause) {
      // Perhaps the name stands for another file by now.
      if (this.#files.get(file) === open) this.#files.delete(file)
      throw cause
    } finally {
      open.readers--
      if (this.#files.get(file) !== open) close(open)
      this.#trim(this.#max)
    }
  }

  /** Those that are being read are closed after. */
  close(): void {
    this.#trim(0)
    this.#files.clear()
  }

  #trim(max: number): void {
    for (const [file, open] of this.#files) {
      if (this.#files.size <= max) return
      if (open.readers > 0) continue
      this.#files.delete(file)
      close(open)
    }
  }
}

/** Nothing was written to it: a close that fails loses nothing. */
function close({ handle, readers }: Open): void {
  if (readers === 0) void handle.then((opened) => opened.close()).catch(() => undefined)
}
