export class Content {
  static async open(_p: object): Promise<Content> {
    return new Content()
  }
  announce(): void {}
  async stop(): Promise<void> {}
  shares(): never[] {
    return []
  }
  link(cid: string, name?: string): string {
    return cid + name
  }
  async given(_f: string, _j: object): Promise<{ cid: string }> {
    throw new Error('x')
  }
  async share(_p: string, _j: object): Promise<{ cid: string; bytes: number; files: number; link: string }> {
    throw new Error('x')
  }
  async fetch(_t: string, _o: object): Promise<never> {
    throw new Error('x')
  }
}
