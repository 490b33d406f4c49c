// Builds the addon and the emulator into dist/native when a compiler and CMake are here; else says so in one line. Never
// fails an install: without the addon, opening the CUDA backend explains what is missing. With --require it exits with 1.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const out = join(root, 'dist', 'native');
const stamp = join(out, 'stamp');
const lock = join(out, 'building');

/** One line for the user. */
function skip(reason) {
  console.log(`@darkroom/backend-cuda: no native addon, the CUDA backend stays off (${reason})`);
  process.exit(process.argv.includes('--require') ? 1 : 0);
}

const runs = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

function digest() {
  const hash = createHash('sha256').update(process.version);
  for (const folder of ['native', 'emulator', join('emulator', 'include')])
    for (const name of readdirSync(join(root, folder)).sort())
      if (/\.(cc|h|mjs)$/.test(name)) hash.update(name).update(readFileSync(join(root, folder, name)));
  return hash.update(readFileSync(join(root, 'CMakeLists.txt'))).digest('hex');
}

/** Two test files may find the build stale at once; the second waits for the first. */
function takeLock() {
  mkdirSync(out, { recursive: true });
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      return;
    } catch {
      const held = existsSync(lock) && Date.now() - statSync(lock).mtimeMs < 180_000;
      if (!held) rmSync(lock, { force: true });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    }
  }
}

const driver = ['/dev/nvidiactl', '/dev/nvidia0', '/dev/dxg', '/proc/driver/nvidia'].some((p) =>
  existsSync(p),
);
if (process.argv.includes('--if-driver') && !driver)
  skip(
    `this machine shows no NVIDIA driver; to build it all the same: node ${join(root, 'native', 'build.mjs')}`,
  );
if (process.platform !== 'linux') skip(`it is built on Linux only, this is ${process.platform}`);
const wanted = digest();
const isFresh = () => existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted;
if (isFresh()) process.exit(0);
const missing = [
  ...(['c++', 'g++', 'clang++'].some(runs) ? [] : ['a C++17 compiler']),
  ...(runs('cmake') ? [] : ['cmake']),
  ...(runs('ninja') || runs('make') ? [] : ['make or ninja']),
];
if (missing.length > 0)
  skip(`install ${missing.join(' and ')}, then run: node ${join(root, 'native', 'build.mjs')}`);
let builder;
try {
  builder = join(dirname(createRequire(import.meta.url).resolve('cmake-js/package.json')), 'bin', 'cmake-js');
} catch {
  skip('the package cmake-js is not installed');
}

takeLock();
try {
  if (!isFresh()) {
    const built = spawnSync(process.execPath, [builder, 'compile', '-d', root, '-O', out], {
      encoding: 'utf8',
    });
    if (built.status !== 0) {
      const log = join(out, 'build.log');
      writeFileSync(log, `${built.stdout ?? ''}${built.stderr ?? ''}${built.error ?? ''}`);
      rmSync(lock, { force: true });
      skip(`its build failed, see ${log}`);
    }
    writeFileSync(stamp, wanted);
  }
} finally {
  rmSync(lock, { force: true });
}
