import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { eventually, findLeaks, mustExec, runInTerminal } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Environment, startEnvironment } from './environment.js'

// Debian's unmodified ctr against this daemon, with a real registry, a real runc and both snapshotters. Needs root.
describe.runIf(process.getuid?.() === 0)('ctr', () => {
  let env: Environment

  beforeAll(async () => {
    env = await startEnvironment()
  })
  afterAll(() => env?.close())

  const ctr = (...args: string[]) => env.daemon.mustCtr(args)
  const lines = (text: string) => text.trim().split('\n')

  test('version names the daemon', async () => {
    const { stdout } = await env.daemon.ctr(['version'])
    expect(stdout).toMatch(/Server:\s+Version:\s+v2\.3\.4\+ts\./)
  })

  test('plugins ls shows every builtin in working order', async () => {
    const table = lines(await ctr('plugins', 'ls')).map((line) => line.trim().split(/\s+/))
    const broken = table.slice(1).filter((row) => !['ok', 'skip'].includes(row.at(-1) ?? ''))
    expect(broken).toEqual([])
    const names = table.map(([type, id]) => `${type}.${id}`)
    for (const name of [
      'io.containerd.content.v1.content',
      'io.containerd.metadata.v1.level',
      'io.containerd.snapshotter.v1.overlayfs',
      'io.containerd.snapshotter.v1.native',
      'io.containerd.differ.v1.walking',
      'io.containerd.event.v1.exchange',
      'io.containerd.gc.v1.scheduler',
      'io.containerd.runtime.v2.task',
      'io.containerd.monitor.task.v1.cgroups',
      ...[
        'containers',
        'content',
        'diff',
        'events',
        'healthcheck',
        'images',
        'introspection',
        'leases',
        'namespaces',
        'snapshots',
        'tasks',
        'version',
      ].map((id) => `io.containerd.grpc.v1.${id}`),
    ]) {
      expect(names).toContain(name)
    }
  })

  test('content ingest, ls, get, label, rm', async () => {
    const data = Buffer.alloc(3_000_000, 'containerd')
    const digest = `sha256:${(await mustExec('sha256sum', ['-'], { input: data })).split(' ')[0]}`
    await env.daemon.mustCtr(
      ['content', 'ingest', '--expected-digest', digest, '--expected-size', String(data.length), 'e2e-ref'],
      { input: data },
    )
    // Nothing refers to the blob: the label keeps it from being collected meanwhile.
    await ctr('content', 'label', digest, 'containerd.io/gc.root=test')
    expect(await ctr('content', 'ls')).toMatch(new RegExp(`${digest}\\s+3MB`))
    expect(await ctr('content', 'get', digest)).toBe(data.toString())
    await ctr('content', 'label', digest, 'a=b')
    expect(await ctr('content', 'ls')).toContain('a=b')
    const other = `sha256:${'0'.repeat(64)}`
    const wrong = await env.daemon.ctr(['content', 'ingest', '--expected-digest', other, 'other-ref'], { input: data })
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('unexpected commit digest') })
    await ctr('content', 'rm', digest)
    const gone = await env.daemon.ctr(['content', 'get', digest])
    expect(gone).toMatchObject({ code: 1, stderr: expect.stringContaining('not found') })
  })

  test('namespaces create, label, ls, rm', async () => {
    await ctr('namespaces', 'create', 'e2e', 'color=green')
    await ctr('namespaces', 'label', 'e2e', 'size=big')
    expect(await ctr('namespaces', 'ls')).toMatch(/e2e\s+color=green,size=big/)
    const again = await env.daemon.ctr(['namespaces', 'create', 'e2e'])
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('namespace "e2e": already exists') })
    await ctr('namespaces', 'rm', 'e2e')
    expect(await ctr('namespaces', 'ls', '-q')).not.toContain('e2e')
  })

  test('leases create, ls, rm', async () => {
    await ctr('leases', 'create', '--id', 'e2e-lease', 'a=b')
    expect(await ctr('leases', 'ls')).toMatch(/e2e-lease\s+.*a=b/)
    await ctr('leases', 'rm', '--sync', 'e2e-lease')
    expect(await ctr('leases', 'ls', '-q')).not.toContain('e2e-lease')
  })

  test('content fetch from a registry', async () => {
    await ctr('-n', 'fetch', 'content', 'fetch', '--plain-http', env.ref)
    expect(lines(await ctr('-n', 'fetch', 'content', 'ls', '-q')).length).toBe(4)
    await ctr('-n', 'fetch', 'images', 'rm', '--sync', env.ref)
    await eventually('the namespace is empty', async () => {
      const { code } = await env.daemon.ctr(['namespaces', 'rm', 'fetch'])
      return code === 0 ? true : undefined
    })
  })

  describe.each(['overlayfs', 'native'])('with the %s snapshotter', (snapshotter) => {
    // The OCI runtime keeps its state by namespace, for the whole machine.
    const ns = `e2e-${process.pid}-${snapshotter}`
    const ctrNs = (...args: string[]) => env.daemon.mustCtr(['-n', ns, ...args])
    const snapshots = (...args: string[]) => ctrNs('snapshots', '--snapshotter', snapshotter, ...args)
    const run = (options: readonly string[], id: string, ...command: string[]) =>
      env.daemon.ctr(['-n', ns, 'run', '--snapshotter', snapshotter, ...options, env.ref, id, ...command])
    const removed = async (id: string) => {
      await ctrNs('tasks', 'rm', '-f', id)
      await ctrNs('containers', 'rm', id)
    }

    beforeAll(async () => {
      await ctrNs('images', 'pull', '--plain-http', '--snapshotter', snapshotter, env.ref)
    })

    test('images ls, check, tag, label', async () => {
      expect(await ctrNs('images', 'ls')).toMatch(
        new RegExp(`${env.ref}\\s+application/vnd.oci.image.manifest.v1\\+json\\s+sha256:`),
      )
      expect(await ctrNs('images', 'check', '--snapshotter', snapshotter)).toMatch(/complete \(3\/3\)\s.*true/)
      await ctrNs('images', 'tag', env.ref, 'localhost/other:tag')
      await ctrNs('images', 'label', 'localhost/other:tag', 'purpose=test')
      expect(await ctrNs('images', 'ls')).toMatch(/localhost\/other:tag.*purpose=test/)
      await ctrNs('images', 'rm', '--sync', 'localhost/other:tag')
      expect(await ctrNs('images', 'ls', '-q')).not.toContain('localhost/other:tag')
    })

    test('images export and import into another namespace', async () => {
      const archive = join(env.dir, `${snapshotter}.tar`)
      await ctrNs('images', 'export', archive, env.ref)
      await ctr('-n', `import-${snapshotter}`, 'images', 'import', '--snapshotter', snapshotter, archive)
      expect(await ctr('-n', `import-${snapshotter}`, 'images', 'ls', '-q')).toContain(env.ref)
      await ctr('-n', `import-${snapshotter}`, 'images', 'rm', '--sync', env.ref)
    })

    test('images mount and unmount show the merged layers', async () => {
      const target = join(env.dir, `mnt-${snapshotter}`)
      await mkdir(target)
      await ctrNs('images', 'mount', '--snapshotter', snapshotter, env.ref, target)
      expect(await readFile(join(target, 'etc/replaced'), 'utf8')).toBe('second\n')
      expect(existsSync(join(target, 'etc/deleted'))).toBe(false)
      expect(existsSync(join(target, 'var/data/hidden'))).toBe(false)
      expect(existsSync(join(target, 'var/data/visible'))).toBe(true)
      await ctrNs('images', 'unmount', '--snapshotter', snapshotter, '--rm', target)
      expect((await findLeaks(target)).mounts).toEqual([])
    })

    test('run gives stdout, stderr and the exit code exactly', async () => {
      expect(await run(['--rm'], 'echo', 'echo', 'hello')).toEqual({ code: 0, stdout: 'hello\n', stderr: '' })
      expect(await run(['--rm'], 'both', 'sh', '-c', 'echo out; echo err >&2; exit 42')).toMatchObject({
        code: 42,
        stdout: 'out\n',
        stderr: expect.stringContaining('err\n'),
      })
      const large = await run(['--rm'], 'large', 'sh', '-c', 'seq 1 200000; exit 3')
      expect(large.code).toBe(3)
      expect(large.stdout).toBe(Array.from({ length: 200_000 }, (_, i) => `${i + 1}\n`).join(''))
      expect(await run(['--rm'], 'killed', 'sh', '-c', 'sh -c "kill -9 \\$\\$"; exit $?')).toMatchObject({ code: 137 })
    })

    test('run with standard input', async () => {
      const input = 'line one\nline two\n'
      const output = await env.daemon.ctr(
        ['-n', ns, 'run', '--rm', '--snapshotter', snapshotter, env.ref, 'head', 'head', '-n', '2'],
        {
          input,
        },
      )
      expect(output).toMatchObject({ code: 0, stdout: input })
    })

    test('run on a real terminal that is resized', async () => {
      const program = runInTerminal('ctr', [
        '--address',
        env.daemon.address,
        '-n',
        ns,
        'run',
        '--rm',
        '-t',
        '--snapshotter',
        snapshotter,
        env.ref,
        'tty',
        'sh',
      ])
      await program.shows('# ')
      program.type('tty; stty size\n')
      await program.shows('24 80')
      expect(program.output()).toContain('/dev/pts/0')
      // The size travels through the client, the daemon and the shim; ctr begins to listen some time after the start.
      await eventually('the container sees the new size', async () => {
        program.resize(99, 40)
        program.resize(100, 40)
        program.type('stty size\n')
        await new Promise((resolve) => setTimeout(resolve, 100))
        return program.output().includes('40 100') ? true : undefined
      })
      program.type('exit 5\n')
      expect(await program.exited).toBe(5)
    })

    test('tasks ls, ps, exec, pause, resume, metrics, kill, wait, rm', async () => {
      expect(await run(['-d'], 'long', 'sleep', '1000')).toMatchObject({ code: 0 })
      expect(await ctrNs('tasks', 'ls')).toMatch(/long\s+\d+\s+RUNNING/)
      expect(lines(await ctrNs('tasks', 'ps', 'long')).length).toBe(2)
      expect(await ctrNs('tasks', 'exec', '--exec-id', 'e1', 'long', 'echo', 'from exec')).toBe('from exec\n')
      expect(await env.daemon.ctr(['-n', ns, 'tasks', 'exec', '--exec-id', 'e2', 'long', 'sh', '-c', 'exit 9'])).toMatchObject({
        code: 9,
      })
      const missing = await env.daemon.ctr(['-n', ns, 'tasks', 'exec', '--exec-id', 'e3', 'long', 'no-such-program'])
      expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('executable file not found') })
      await ctrNs('tasks', 'pause', 'long')
      expect(await ctrNs('tasks', 'ls')).toMatch(/long\s+\d+\s+PAUSED/)
      await ctrNs('tasks', 'resume', 'long')
      expect(await ctrNs('tasks', 'metrics', 'long')).toMatch(/memory\.usage_in_bytes\s+\d+|memory\.usage\s+\d+/)
      await ctrNs('tasks', 'kill', '-s', 'SIGKILL', 'long')
      await eventually('the task is stopped', async () =>
        (await ctrNs('tasks', 'ls')).match(/long\s+\d+\s+STOPPED/) ? true : undefined,
      )
      const rm = await env.daemon.ctr(['-n', ns, 'tasks', 'rm', 'long'])
      expect(rm.stderr).toContain('task long exit with non-zero exit code 137')
      await ctrNs('containers', 'rm', 'long')
      expect(await ctrNs('containers', 'ls', '-q')).not.toContain('long')
    })

    test('tasks attach goes on with the output', async () => {
      expect(await run(['-d'], 'attached', 'sh', '-c', 'while true; do echo tick; sleep 0.1; done')).toMatchObject({ code: 0 })
      const attach = spawn('timeout', [
        '-k',
        '1',
        '20',
        'ctr',
        '--address',
        env.daemon.address,
        '-n',
        ns,
        'tasks',
        'attach',
        'attached',
      ])
      const exited = new Promise((resolve) => attach.once('exit', resolve))
      let shown = ''
      attach.stdout.on('data', (chunk) => {
        shown += chunk
      })
      await eventually('output arrives', () => (shown.includes('tick\ntick\n') ? true : undefined))
      await ctrNs('tasks', 'kill', '-s', 'SIGKILL', 'attached')
      expect(await exited).toBe(137)
      await ctrNs('containers', 'rm', 'attached')
    })

    test('containers create, info, label, ls, rm, and a task of it', async () => {
      await ctrNs(
        'containers',
        'create',
        '--snapshotter',
        snapshotter,
        '--label',
        'x=y',
        env.ref,
        'made',
        'grep',
        'x',
        '/nowhere',
      )
      const info = JSON.parse(await ctrNs('containers', 'info', 'made'))
      expect(info).toMatchObject({ ID: 'made', Image: env.ref, Snapshotter: snapshotter, Labels: { x: 'y' } })
      await ctrNs('containers', 'label', 'made', 'z=w')
      expect(await ctrNs('containers', 'ls')).toMatch(/made\s+.*busybox:latest\s+io\.containerd\.runc\.v2/)
      expect(await env.daemon.ctr(['-n', ns, 'tasks', 'start', 'made'])).toMatchObject({ code: 2 })
      await ctrNs('containers', 'rm', 'made')
    })

    test('the name of the old runtime reaches the shim too', async () => {
      const { code, stdout } = await run(['--rm', '--runtime', 'io.containerd.runtime.v1.linux'], 'v1', 'echo', 'still here')
      expect({ code, stdout }).toEqual({ code: 0, stdout: 'still here\n' })
    })

    test('snapshots prepare, view, commit, mounts, diff, tree, usage, rm', async () => {
      // Columns are key, parent, kind; the base layer has no parent.
      const rows = lines(await snapshots('ls'))
        .slice(1)
        .map((line) => line.trim().split(/\s+/))
      const parents = new Set(rows.filter((row) => row.length === 3 && row[2] === 'Committed').map((row) => row[1]))
      const leaf = rows.find((row) => row.at(-1) === 'Committed' && !parents.has(row[0]))?.[0]
      if (leaf === undefined) throw new Error('the image is not unpacked')
      const target = join(env.dir, `snap-${snapshotter}`)
      await mkdir(target)
      await snapshots('prepare', '-t', target, 'work', leaf)
      const mount = (await snapshots('mounts', target, 'work')).trim()
      await mustExec('sh', ['-c', `${mount} && echo new > ${target}/etc/added && rm ${target}/etc/replaced && umount ${target}`])
      const diff = join(env.dir, `diff-${snapshotter}.tar.gz`)
      await mustExec('sh', [
        '-c',
        `timeout -k 1 30 ctr --address ${env.daemon.address} -n ${ns} snapshots --snapshotter ${snapshotter} diff work > ${diff}`,
      ])
      expect(lines(await mustExec('tar', ['-tzf', diff]))).toEqual(['etc/', 'etc/added', 'etc/.wh.replaced'])
      await snapshots('commit', 'committed', 'work')
      // ctr does not protect views: until this one has a label, a collection that earlier tests have caused may take it.
      await eventually('the view is kept', async () => {
        const snapshotArgs = ['-n', ns, 'snapshots', '--snapshotter', snapshotter]
        await env.daemon.ctr([...snapshotArgs, 'view', 'looked', 'committed'])
        const { code } = await env.daemon.ctr([...snapshotArgs, 'label', 'looked', 'containerd.io/gc.root=test'])
        return code === 0 ? true : undefined
      })
      expect(await snapshots('tree')).toContain('committed')
      expect(await snapshots('usage', 'committed')).toMatch(/committed\s+[\d.]+ [KM]iB\s+\d+/)
      const refused = await env.daemon.ctr(['-n', ns, 'snapshots', '--snapshotter', snapshotter, 'rm', 'committed'])
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('cannot remove snapshot with child') })
      await snapshots('rm', 'looked')
      await snapshots('rm', 'committed')
    })

    test('images rm --sync leaves nothing of the image', async () => {
      await ctrNs('images', 'rm', '--sync', env.ref)
      expect((await ctrNs('content', 'ls', '-q')).trim()).toBe('')
      expect(lines(await snapshots('ls')).length).toBe(1)
      await ctrNs('images', 'pull', '--plain-http', '--snapshotter', snapshotter, env.ref)
    })

    test('a running container survives the daemon', async () => {
      expect(await run(['-d'], 'survivor', 'sh', '-c', 'trap "exit 17" TERM; while true; do sleep 0.1; done')).toMatchObject({
        code: 0,
      })
      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        await env.restart(signal)
        expect(await ctrNs('tasks', 'ls')).toMatch(/survivor\s+\d+\s+RUNNING/)
        expect(await ctrNs('tasks', 'exec', '--exec-id', `after-${signal}`, 'survivor', 'echo', signal)).toBe(`${signal}\n`)
      }
      await ctrNs('tasks', 'kill', '-s', 'SIGTERM', 'survivor')
      await eventually('the task is stopped', async () =>
        (await ctrNs('tasks', 'ls')).match(/survivor\s+\d+\s+STOPPED/) ? true : undefined,
      )
      expect(await env.daemon.ctr(['-n', ns, 'tasks', 'rm', 'survivor'])).toMatchObject({
        stderr: expect.stringContaining('exit code 17'),
      })
      await ctrNs('containers', 'rm', 'survivor')
    })

    test('events tell the life of a container', async () => {
      const child = spawn('timeout', ['-k', '1', '60', 'ctr', '--address', env.daemon.address, '-n', ns, 'events'])
      const exited = new Promise((resolve) => child.once('exit', resolve))
      let shown = ''
      child.stdout.on('data', (chunk) => {
        shown += chunk
      })
      // A subscription has no acknowledgement: make harmless events until one arrives.
      await eventually('the subscription is there', async () => {
        await ctr('namespaces', 'label', ns, `tick=${shown.length}${Date.now()}`)
        return shown.includes('/namespaces/update') ? true : undefined
      })
      expect(await run(['-d'], 'watched', 'sleep', '1000')).toMatchObject({ code: 0 })
      await ctrNs('tasks', 'exec', '--exec-id', 'x', 'watched', 'true')
      await ctrNs('tasks', 'pause', 'watched')
      await ctrNs('tasks', 'resume', 'watched')
      await removed('watched')
      await eventually('the last event is there', () => (shown.includes('/containers/delete') ? true : undefined))
      child.kill('SIGTERM')
      await exited
      const topics = lines(shown).map((line) => line.split(/\s+/)[5] ?? '')
      const order = [
        '/snapshot/prepare',
        '/containers/create',
        '/tasks/create',
        '/tasks/start',
        '/tasks/exec-added',
        '/tasks/exec-started',
        '/tasks/paused',
        '/tasks/resumed',
        '/tasks/exit',
        '/tasks/delete',
        '/containers/delete',
      ]
      let from = 0
      for (const topic of order) {
        const at = topics.indexOf(topic, from)
        expect(at, `${topic} after ${topics.slice(0, from).join(' ')} in ${topics.join(' ')}`).toBeGreaterThanOrEqual(0)
        from = at
      }
    })

    test('what goes wrong says so in one line', async () => {
      const expectFailure = async (output: Promise<{ code: number; stderr: string }>, message: RegExp) => {
        const { code, stderr } = await output
        expect(code).not.toBe(0)
        const error = lines(stderr).filter((line) => line.startsWith('ctr: '))
        expect(error.join('\n')).toMatch(message)
      }
      await expectFailure(
        env.daemon.ctr(['-n', ns, 'run', '--rm', 'no/such:image', 'x', 'true']),
        /image "no\/such:image": not found/,
      )
      await expectFailure(run(['--rm', '--runtime', 'io.containerd.nothing.v9'], 'x1', 'true'), /containerd-shim-nothing-v9/)
      await expectFailure(run(['--rm'], 'x2', 'no-such-command'), /executable file not found/)
      await expectFailure(run(['--rm', '--runc-binary', '/nowhere/runc'], 'x3', 'true'), /\/nowhere\/runc/)
      await expectFailure(env.daemon.ctr(['-n', ns, 'tasks', 'kill', 'nobody']), /nobody.*not found/)
      expect((await ctrNs('containers', 'ls', '-q')).trim()).toBe('')
    })
  })
})
