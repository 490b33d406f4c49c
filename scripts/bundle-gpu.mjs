// One folder for a bare x86-64 Linux machine with an NVIDIA GPU, CUDA's libraries and no network: a compressed Node, the
// verify command in one file, the addon, the reference cases and verify.sh. Usage: pnpm bundle:gpu [GOLDENS]
// GOLDENS: another folder of reference cases than fixtures/goldens.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const out = join(root, 'dist-gpu');
const goldens = resolve(process.argv[2] ?? join(root, 'fixtures', 'goldens'));
const limit = 60 * 2 ** 20;

function must(command, args) {
  const done = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (done.status !== 0)
    throw new Error(`${command} ${args.join(' ')}: failed (${done.error?.message ?? done.status})`);
}
if (process.platform !== 'linux' || process.arch !== 'x64')
  throw new Error('the bundle is made on x86-64 Linux');
if (!existsSync(join(goldens, 'manifest.json'))) throw new Error(`${goldens} has no manifest.json`);

const revision = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' });
const commit = revision.status === 0 ? revision.stdout.trim() : 'unknown';
rmSync(out, { recursive: true, force: true });
mkdirSync(out);

// The addon links the C++ library dynamically and opens CUDA's libraries at run time.
const cuda = join(root, 'packages', 'backend-cuda');
must(process.execPath, [join(cuda, 'native', 'build.mjs'), '--require']);
cpSync(join(cuda, 'dist', 'native', 'Release', 'darkroom_cuda.node'), join(out, 'darkroom_cuda.node'));

// vite belongs to the page; its bundler serves here too.
const vite = createRequire(join(root, 'docs', 'demo', 'package.json')).resolve('vite');
const { build } = await import(pathToFileURL(vite).href);
await build({
  configFile: false,
  logLevel: 'warn',
  root: join(root, 'packages', 'bench'),
  resolve: { conditions: ['@darkroom/source', 'node'] },
  ssr: { noExternal: true, external: ['webgpu'], resolve: { conditions: ['@darkroom/source', 'node'] } },
  build: {
    ssr: join(root, 'packages', 'bench', 'src', 'verify-main.ts'),
    outDir: join(out, 'app'),
    target: 'node20',
    minify: false,
    rollupOptions: { output: { entryFileNames: 'verify.js' } },
  },
});
writeFileSync(join(out, 'app', 'package.json'), '{ "type": "module" }\n');
cpSync(goldens, join(out, 'goldens'), { recursive: true });

// Node, without symbols; python3 unpacks it there, since xz may be missing.
cpSync(process.execPath, join(out, 'node'));
must('strip', [join(out, 'node')]);
must('xz', ['-9', '-T0', join(out, 'node')]);

writeFileSync(
  join(out, 'verify.sh'),
  `#!/usr/bin/env bash
# Verifies Darkroom's CUDA backend on this machine and times it: verify.sh [folder for results]
set -euo pipefail
cd "$(dirname "$0")"
results="\${1:-.}"
mkdir -p "$results"
if [ ! -x "\${TMPDIR:-/tmp}/darkroom-node" ]; then
  python3 -c "import lzma, shutil, sys; shutil.copyfileobj(lzma.open('node.xz'), open(sys.argv[1], 'wb'))" "\${TMPDIR:-/tmp}/darkroom-node.part"
  chmod +x "\${TMPDIR:-/tmp}/darkroom-node.part"
  mv "\${TMPDIR:-/tmp}/darkroom-node.part" "\${TMPDIR:-/tmp}/darkroom-node"
fi
export DARKROOM_CUDA_ADDON="$PWD/darkroom_cuda.node" DARKROOM_COMMIT=${commit}
exec "\${TMPDIR:-/tmp}/darkroom-node" app/verify.js goldens --device cuda --json "$results/verify.json" "\${@:2}"
`,
);
chmodSync(join(out, 'verify.sh'), 0o755);

function bytesOf(path) {
  const stat = statSync(path);
  return stat.isDirectory()
    ? readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0)
    : stat.size;
}
const bytes = bytesOf(out);
console.log(`${out}: ${(bytes / 2 ** 20).toFixed(1)} MiB`);
if (bytes > limit) throw new Error(`the bundle takes ${bytes} bytes, at most ${limit} are allowed`);
