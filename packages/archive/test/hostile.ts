import { TarType } from '../src/index.js'
import { directory, type Entry, hardlink, symlink } from './layer.js'

/** An attack: what an archive tries, in which `OUTSIDE` stands for a directory that it must not reach. */
export interface Attack {
  name: string
  entries: Entry[]
}

const deep = Array.from({ length: 60 }, (_, i) => `d${i}`).join('/')
const up = '../'.repeat(70)

/** What archives have been made to do to programs that unpack them. Each one is followed by whatever else it takes. */
export const attacks: readonly Attack[] = [
  { name: 'dots in a name', entries: [{ name: `${up}OUTSIDE/victim`, data: 'x' }] },
  { name: 'dots in the middle of a name', entries: [{ name: `a/b/${up}OUTSIDE/victim`, data: 'x' }] },
  { name: 'an absolute name', entries: [{ name: 'OUTSIDE/victim', data: 'x' }] },
  { name: 'an absolute name with slashes', entries: [{ name: '////OUTSIDE/victim', data: 'x' }] },
  { name: 'a link to outside, then a file through it', entries: [symlink('l', 'OUTSIDE'), { name: 'l/victim', data: 'x' }] },
  { name: 'a relative link to outside', entries: [symlink('l', `${up}OUTSIDE`), { name: 'l/victim', data: 'x' }] },
  { name: 'a link deep in the tree', entries: [symlink(`${deep}/l`, `${up}OUTSIDE`), { name: `${deep}/l/victim`, data: 'x' }] },
  {
    name: 'a chain of links, each harmless',
    entries: [symlink('a', '..'), symlink('b', 'a/..'), symlink('c', 'b/../OUTSIDE'), { name: 'c/victim', data: 'x' }],
  },
  {
    name: 'a link that is replaced while it is used',
    entries: [
      directory('d/'),
      { name: 'd/f', data: '1' },
      symlink('d', 'OUTSIDE'),
      { name: 'd/victim', data: 'x' },
      directory('d/'),
    ],
  },
  {
    name: 'a directory entry for a link',
    entries: [symlink('d', 'OUTSIDE'), directory('d/', { mode: 0o777, uid: 5 }), { name: 'd/victim' }],
  },
  { name: 'a mode through a link', entries: [symlink('l', 'OUTSIDE/victim'), { ...hardlink('h', 'l'), mode: 0o777 }] },
  { name: 'a file over a link', entries: [symlink('l', 'OUTSIDE/victim'), { name: 'l', data: 'x' }] },
  { name: 'a hard link to outside', entries: [hardlink('h', 'OUTSIDE/victim'), { name: 'h', data: 'x' }] },
  { name: 'a hard link with dots', entries: [hardlink('h', `${up}OUTSIDE/victim`), { name: 'h', data: 'x' }] },
  { name: 'a hard link through a link', entries: [symlink('l', 'OUTSIDE'), hardlink('h', 'l/victim'), { name: 'h', data: 'x' }] },
  {
    name: 'a hard link of a link to outside',
    entries: [symlink('l', 'OUTSIDE'), hardlink('h', 'l'), { name: 'h/victim', data: 'x' }],
  },
  { name: 'a whiteout outside', entries: [{ name: `${up}OUTSIDE/.wh.victim` }, { name: 'OUTSIDE/.wh.victim' }] },
  { name: 'a whiteout through a link', entries: [symlink('l', 'OUTSIDE'), { name: 'l/.wh.victim' }] },
  { name: 'an opaque marker through a link', entries: [symlink('l', 'OUTSIDE'), { name: 'l/.wh..wh..opq' }] },
  { name: 'a whiteout of a parent', entries: [directory('d/'), { name: 'd/.wh...' }] },
  { name: 'a whiteout of itself', entries: [directory('d/'), { name: 'd/.wh..' }] },
  { name: 'a whiteout of a path', entries: [{ name: '.wh...%2f..', data: '' }, { name: '.wh.' }] },
  { name: 'links in a circle', entries: [symlink('a', 'b'), symlink('b', 'a'), { name: 'a/victim' }] },
  { name: 'a link to itself', entries: [symlink('a', 'a'), { name: 'a/victim' }] },
  { name: 'the process directory', entries: [symlink('p', '/proc/self/root'), { name: 'p/OUTSIDE/victim', data: 'x' }] },
  {
    name: 'the descriptors of the process',
    entries: [symlink('p', '/proc/self/cwd'), { name: 'p/../OUTSIDE/victim', data: 'x' }],
  },
  {
    name: 'attributes through a link',
    entries: [
      symlink('l', 'OUTSIDE/victim'),
      { ...symlink('l', 'OUTSIDE/victim'), xattrs: new Map([['user.a', Buffer.from('b')]]) },
    ],
  },
  {
    name: "overlay's own marks",
    entries: [
      directory('d/', {
        xattrs: new Map([
          ['trusted.overlay.redirect', Buffer.from('/OUTSIDE')],
          ['trusted.overlay.opaque', Buffer.from('y')],
          ['trusted.overlay.metacopy', Buffer.from('')],
        ]),
      }),
      { name: 'd/victim', data: 'x' },
    ],
  },
  {
    name: 'a device instead of a directory',
    entries: [{ name: 'n', type: TarType.Character, major: 1, minor: 3 }, { name: 'n/victim' }],
  },
  {
    name: 'a FIFO that is then written',
    entries: [
      { name: 'p', type: TarType.Fifo },
      { name: 'p', data: 'x' },
    ],
  },
  {
    name: 'a FIFO linked and written',
    entries: [{ name: 'p', type: TarType.Fifo }, hardlink('q', 'p'), { name: 'q', data: 'x' }],
  },
  { name: 'a name with a NUL', entries: [{ name: Buffer.from('a\0/../OUTSIDE/victim'), data: 'x' }] },
  { name: 'a name that is too long', entries: [{ name: 'n'.repeat(300), data: 'x' }] },
  {
    name: 'a path that is too long',
    entries: [{ name: Array.from({ length: 40 }, () => 'n'.repeat(200)).join('/'), data: 'x' }],
  },
  { name: 'owners beyond all numbers', entries: [{ name: 'a', uid: 2 ** 40, gid: 2 ** 50 }] },
  { name: 'a size beyond all disks', entries: [{ name: 'a', size: 2 ** 52 }] },
  { name: 'a device beyond all numbers', entries: [{ name: 'a', type: TarType.Block, major: 2 ** 20, minor: 2 ** 20 }] },
  { name: 'an unknown type', entries: [{ name: 'a', type: 'Z' }] },
  { name: 'modes with bits that no file has', entries: [{ name: 'a', mode: 0o7777777 }] },
]
