// Files written whole or not at all: failures at any file, short writes, signals, full disks, two writers at once.
// Tests that need a process of their own run the built package, as a user does.

import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DarkroomError } from '../errors.ts';
import { tryWriting, writeFilesTogether, writeFileWhole, writeFileWholeSync } from './write-files.ts';

/** The system takes at most so many bytes of a write. */
const system = vi.hoisted(() => ({ most: Infinity }));
vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>();
  return {
    ...real,
    write: (fd: number, bytes: Uint8Array, at: number, length: number, place: null, done: () => void) =>
      real.write(fd, bytes, at, Math.min(length, system.most), place, done),
    writeSync: (fd: number, bytes: Uint8Array, at: number) =>
      real.writeSync(fd, bytes, at, Math.min(bytes.length - at, system.most)),
  };
});

const built = pathToFileURL(join(import.meta.dirname, '../../dist/node/index.js')).href;
let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'darkroom-write-'));
});
afterEach(() => {
  system.most = Infinity;
  fs.rmSync(folder, { recursive: true, force: true });
});

const at = (name: string): string => join(folder, name);
const read = (name: string): string => fs.readFileSync(at(name), 'utf8');
const everything = (): string[] => (fs.readdirSync(folder, { recursive: true }) as string[]).sort();
async function* failing(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
  throw new Error('the source failed');
}

test('any bytes in any pieces arrive, however few of them the system takes at once', async () => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(pieces, fc.integer({ min: 1, max: 50 }), async (chunks, most) => {
      system.most = most;
      const whole = Buffer.concat(chunks);
      await writeFileWhole(
        at('a'),
        (async function* () {
          yield* chunks;
        })(),
      );
      writeFileWholeSync(at('b'), whole);
      expect(Buffer.compare(fs.readFileSync(at('a')), whole)).toBe(0);
      expect(Buffer.compare(fs.readFileSync(at('b')), whole)).toBe(0);
      expect(everything()).toEqual(['a', 'b']);
    }),
    { numRuns: Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? 50) },
  );
});

test('a system that takes no bytes is an error, not an endless loop', async () => {
  system.most = 0;
  await expect(writeFileWhole(at('a'), 'text')).rejects.toThrow(`${at('a')}: cannot be written`);
  expect(() => writeFileWholeSync(at('a'), 'text')).toThrow(`${at('a')}: cannot be written`);
  expect(everything()).toEqual([]);
});

describe('files that belong together', () => {
  const names = ['m/a/1', 'm/a/2', 'm/b/1', 'm/index'];
  const files = (text: string): { path: string; data: string }[] =>
    names.map((name) => ({ path: at(name), data: `${text} ${name}` }));
  const texts = (): string[] => names.map(read);

  test('the old ones stay until all new ones are whole', async () => {
    await writeFilesTogether(files('old'));
    const seen: string[][] = [];
    const last = (async function* () {
      seen.push(texts());
      yield new TextEncoder().encode('new m/index');
    })();
    await writeFilesTogether([...files('new').slice(0, -1), { path: at('m/index'), data: last }]);
    expect(seen).toEqual([names.map((name) => `old ${name}`)]);
    expect(texts()).toEqual(names.map((name) => `new ${name}`));
    expect(everything()).toEqual(['m', 'm/a', 'm/a/1', 'm/a/2', 'm/b', 'm/b/1', 'm/index']);
  });

  test.each(names.map((_, i) => i))('a failure while file %i is written changes nothing', async (i) => {
    const broken = files('new').map((file, j) => (j === i ? { ...file, data: failing('half') } : file));
    await expect(writeFilesTogether(broken)).rejects.toThrow('the source failed');
    expect(everything()).toEqual([]);
    await writeFilesTogether(files('old'));
    const before = everything();
    const again = files('new').map((file, j) => (j === i ? { ...file, data: failing('half') } : file));
    await expect(writeFilesTogether(again)).rejects.toThrow('the source failed');
    expect(texts()).toEqual(names.map((name) => `old ${name}`));
    expect(everything()).toEqual(before);
  });

  test.each(names.map((_, i) => i))('a place that becomes a folder before file %i is named', async (i) => {
    await writeFilesTogether(files('old'));
    const before = everything();
    const blocked = at(`${names[i]!}-new`);
    const last = (async function* () {
      fs.mkdirSync(join(blocked, 'x'), { recursive: true });
      yield new TextEncoder().encode('new');
    })();
    const changed = files('new');
    changed[i]!.path = blocked;
    const tail = { path: at('m/tail'), data: last };
    await expect(writeFilesTogether([...changed, tail])).rejects.toThrow(`${blocked}: cannot be written`);
    expect(texts()).toEqual(names.map((name) => `old ${name}`));
    fs.rmSync(blocked, { recursive: true });
    expect(everything()).toEqual(before);
  });

  test('many writers at once leave the files of one of them', async () => {
    const writers = Array.from({ length: 12 }, (_, i) => String(i));
    await Promise.all(writers.map((text) => writeFilesTogether(files(text))));
    const [first] = read('m/index').split(' ');
    expect(texts()).toEqual(names.map((name) => `${first} ${name}`));
    expect(everything().some((name) => name.includes('tmp'))).toBe(false);
  });
});

test('several processes that save at once, again and again, never leave a mix', async () => {
  const names = Array.from({ length: 12 }, (_, i) => `m/${i}`);
  const script = (text: string): string => `
    import * as node from ${JSON.stringify(built)};
    for (let round = 0; round < 40; round++)
      await node.writeFilesTogether(${JSON.stringify(names)}.map((path) => ({ path, data: '${text}' + round })));`;
  const children = ['a', 'b', 'c'].map((text) =>
    spawn(process.execPath, ['--input-type=module', '-e', script(text)], { cwd: folder, stdio: 'inherit' }),
  );
  const codes = await Promise.all(children.map((child) => new Promise((done) => child.once('exit', done))));
  expect(codes).toEqual([0, 0, 0]);
  expect(new Set(names.map(read)).size).toBe(1);
  expect(fs.readdirSync(at('m')).length).toBe(names.length);
});

test('the lock of a process that was killed does not hold for ever', async () => {
  fs.mkdirSync(at('m'));
  fs.writeFileSync(at('m/.darkroom-lock'), '');
  fs.utimesSync(at('m/.darkroom-lock'), 1000, 1000);
  await writeFilesTogether(['m/a', 'm/b'].map((name) => ({ path: at(name), data: name })));
  expect(everything()).toEqual(['m', 'm/a', 'm/b']);
});

test('a bad place is told by the path that was given', async () => {
  fs.mkdirSync(at('folder'));
  fs.writeFileSync(at('file'), '');
  const bad: [string, string][] = [
    ['folder', 'it is a folder'],
    ['file/x', 'a part of its path is a file'],
    ['n'.repeat(300), 'ENAMETOOLONG: name too long'],
  ];
  for (const [name, why] of bad) {
    for (const call of [
      () => writeFileWhole(at(name), 'x'),
      () => tryWriting([at('new/fine'), at(name)], 10),
      async () => writeFileWholeSync(at(name), 'x'),
    ]) {
      const error = await call().catch((e: unknown) => e);
      expect(error, name).toBeInstanceOf(DarkroomError);
      expect((error as Error).message).toContain(`${at(name)}: cannot be written`);
      expect((error as Error).message).toContain(why);
      expect((error as Error).message).not.toContain('.tmp');
    }
  }
  expect(everything()).toEqual(['file', 'folder']);
});

test('a link stays one: what it leads to is replaced, with its permissions', async () => {
  fs.writeFileSync(at('real'), 'old', { mode: 0o600 });
  fs.symlinkSync('real', at('link'));
  await writeFileWhole(at('link'), 'new');
  expect([fs.readlinkSync(at('link')), read('real')]).toEqual(['real', 'new']);
  expect(fs.statSync(at('real')).mode & 0o777).toBe(0o600);
});

test('trying leaves nothing and overwrites nothing', async () => {
  fs.writeFileSync(at('old'), 'old');
  await tryWriting([at('old'), at('new/a/b'), at('new/a/c')], 5000);
  expect([everything(), read('old')]).toEqual([['old'], 'old']);
});

/** Runs a module that has the built package as `node`; a file may hold 16 KiB. */
function limited(body: string): { status: number | null; out: string } {
  const script = `import * as node from ${JSON.stringify(built)};\n${body}`;
  const done = spawnSync(
    'bash',
    ['-c', `ulimit -f 16; exec "$0" --input-type=module -e "$1"`, process.execPath, script],
    { cwd: folder, encoding: 'utf8' },
  );
  return { status: done.status, out: `${done.stdout}${done.stderr}` };
}

test.runIf(process.platform === 'linux')('a full disk is an error and leaves the old file', () => {
  fs.writeFileSync(at('a'), 'old');
  const body = (call: string): string =>
    `await (async () => ${call})().then(() => console.log('done'), (e) => console.log(e.name, e.message));`;
  for (const call of [
    "node.writeFileWhole('a', new Uint8Array(20_000))",
    "node.writeFileWholeSync('a', new Uint8Array(20_000))",
    "node.tryWriting(['b', 'a'], 20_000)",
  ]) {
    expect(limited(body(call)).out).toMatch(
      /^DarkroomError [ab]: cannot be written \(EFBIG: file too large\)/,
    );
    expect([everything(), read('a')]).toEqual([['a'], 'old']);
  }
  expect(limited(body("node.writeFileWhole('a', 'new')")).out).toBe('done\n');
  expect(read('a')).toBe('new');
});

describe.runIf(process.platform !== 'win32')('a signal in the middle', () => {
  const slow = `
    async function* slow() { yield new Uint8Array(1000); console.log('half'); await new Promise((r) => setTimeout(r, 1e6)); }`;
  const start = (body: string): ReturnType<typeof spawn> =>
    spawn(
      process.execPath,
      ['--input-type=module', '-e', `import * as node from ${JSON.stringify(built)};${slow}${body}`],
      {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
  const said = (child: ReturnType<typeof spawn>): Promise<void> =>
    new Promise((done) => child.stdout!.once('data', () => done()));
  const ended = (child: ReturnType<typeof spawn>): Promise<[number | null, string | null]> =>
    new Promise((done) => child.once('exit', (code, signal) => done([code, signal])));
  const write = `await node.writeFilesTogether([{ path: 'x/a', data: 'new' }, { path: 'b', data: slow() }]);`;

  test.each(['SIGTERM', 'SIGHUP', 'SIGINT'] as const)(
    '%s ends it and leaves no temporary file',
    async (signal) => {
      fs.writeFileSync(at('b'), 'old');
      const child = start(write);
      await said(child);
      expect(everything().length).toBe(4);
      child.kill(signal);
      expect(await ended(child)).toEqual([null, signal]);
      expect([everything(), read('b')]).toEqual([['b'], 'old']);
    },
  );

  test('so does process.exit, and a program that listens decides for itself', async () => {
    const child = start(`process.on('SIGTERM', () => process.exit(7)); ${write}`);
    await said(child);
    child.kill('SIGTERM');
    expect(await ended(child)).toEqual([7, null]);
    expect(everything()).toEqual([]);
  });

  test('nothing listens before and after', async () => {
    const before = process.listenerCount('SIGTERM');
    await writeFileWhole(at('a'), 'x');
    expect(process.listenerCount('SIGTERM')).toBe(before);
  });
});
