// Runs the bundle beside this file. Compiling it is most of a program's start, so V8's compiled code is kept beside it: a code cache
// of another version of Node is refused by V8 and costs nothing but the time that it would have saved.
'use strict'
const { readFileSync, writeFileSync } = require('node:fs')
const { wrap } = require('node:module')
const { Script } = require('node:vm')

const bundle = __filename.replace(/\.cjs$/, '.bundle.js')
const cache = `${bundle}.cache`

function cachedData() {
  try {
    return readFileSync(cache)
  } catch {
    return undefined
  }
}

const script = new Script(wrap(readFileSync(bundle, 'utf8')), { filename: bundle, cachedData: cachedData() })
// Code from a cache cannot import at run time; this file, a module like any other, can.
require.bundleImport = (specifier) => import(specifier)
// The build runs the program once, so that the cache holds what is compiled only when it is called.
if (process.env.BUNDLE_WRITE_CODE_CACHE) process.once('exit', () => writeFileSync(cache, script.createCachedData()))
script.runInThisContext().call(module.exports, module.exports, require, module, __filename, __dirname)
