/** An archive as the kernel unpacks it for its first root: cpio in the `newc` format. */
export function cpio(entries) {
  const parts = []
  let inode = 1
  const add = (name, mode, content) => {
    const path = Buffer.from(`${name}\0`)
    // Magic, then 13 numbers of eight hexadecimal digits, of which only these matter.
    const numbers = [inode++, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, path.length, 0]
    const header = Buffer.from(`070701${numbers.map((number) => number.toString(16).padStart(8, '0')).join('')}`)
    parts.push(padded(Buffer.concat([header, path])), padded(content))
  }
  for (const { name, mode, content } of entries) add(name, mode, content ?? Buffer.alloc(0))
  add('TRAILER!!!', 0, Buffer.alloc(0))
  return Buffer.concat(parts)
}

function padded(bytes) {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)])
}
