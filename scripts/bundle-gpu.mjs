// One folder for a bare x86-64 Linux machine with an NVIDIA GPU, CUDA's libraries and no network: a compressed Node, the
// verify command in one file, the addon, a small model, the reference cases, torch's replay and verify.sh.
// Usage: pnpm bundle:gpu [GOLDENS] [--out DIR] [--seed DIR] [--without-node] [--without-data] [--with-webgpu]
// GOLDENS: another folder of reference cases than fixtures/goldens. --seed: a cache to begin with, as `bench prepare` or
// an earlier visit left it. --without-node: for a machine that has Node, and for tests, since compressing takes longer
// than all the rest; verify.sh then runs the node on PATH. --without-data: for a bundle inside a checkout, whose
// reference cases and model it takes. --with-webgpu: Dawn too, for `verify.sh RESULTS --device webgpu`; the machine needs
// a Vulkan loader.

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
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: 'string' },
    seed: { type: 'string' },
    'without-node': { type: 'boolean' },
    'without-data': { type: 'boolean' },
    'with-webgpu': { type: 'boolean' },
  },
});
const out = resolve(options.out ?? join(root, 'dist-gpu'));
const goldens = resolve(positionals[0] ?? join(root, 'fixtures', 'goldens'));
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
mkdirSync(out, { recursive: true });

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
    ssr: join(root, 'packages', 'bench', 'src', 'verify', 'main.ts'),
    outDir: join(out, 'app'),
    target: 'node20',
    minify: false,
    rollupOptions: { output: { entryFileNames: 'verify.js' } },
  },
});
writeFileSync(join(out, 'app', 'package.json'), '{ "type": "module" }\n');
if (!options['without-data']) {
  cpSync(goldens, join(out, 'goldens'), { recursive: true });
  cpSync(join(root, 'models', 'emoji-64'), join(out, 'model'), { recursive: true });
}
if (options.seed) cpSync(resolve(options.seed), join(out, 'seed'), { recursive: true });
const torch = join(root, 'packages', 'bench', 'torch');
cpSync(torch, join(out, 'torch'), { recursive: true, filter: (path) => !path.includes('__pycache__') });

// Dawn's package without the files of other systems.
if (options['with-webgpu']) {
  const from = dirname(
    createRequire(join(root, 'packages', 'backend-webgpu', 'package.json')).resolve('webgpu'),
  );
  const to = join(out, 'app', 'node_modules', 'webgpu');
  for (const part of ['package.json', 'index.js', 'LICENSE.md', join('dist', 'linux-x64')])
    cpSync(join(from, part), join(to, part), { recursive: true });
  const dawn = join(to, 'dist', 'linux-x64', 'dawn.node');
  must('strip', ['--strip-unneeded', dawn]);
  must('xz', ['-9', '-T0', dawn]);
}

// Node, without symbols; python3 unpacks it there, since xz may be missing.
if (!options['without-node']) {
  cpSync(process.execPath, join(out, 'node'));
  must('strip', [join(out, 'node')]);
  must('xz', ['-9', '-T0', join(out, 'node')]);
}

writeFileSync(
  join(out, 'verify.sh'),
  `#!/usr/bin/env bash
# Verifies Darkroom's CUDA backend on this machine and times it: verify.sh [FOLDER FOR RESULTS] [options of verify]
# Options: --visit N (one of three visits of about 200 s), --quick (no timings), --only TEXT (stages whose name contains
# it), --budget SECONDS, --tiny. DARKROOM_UNDER="ncu …" runs all under a profiler.
set -euo pipefail
results=.
if [ $# -gt 0 ] && [ "\${1#-}" = "$1" ]; then
  results="$1"
  shift
fi
mkdir -p "$results"
results="$(cd "$results" && pwd)"
cd "$(dirname "$0")"
scratch="\${TMPDIR:-/tmp}"
node=node
if [ -f node.xz ]; then
  node="$scratch/darkroom-node-${process.version}"
  if [ ! -x "$node" ]; then
    python3 -c "import lzma, shutil, sys; shutil.copyfileobj(lzma.open('node.xz'), open(sys.argv[1], 'wb'))" "$node.part"
    chmod +x "$node.part"
    mv "$node.part" "$node"
  fi
fi
dawn=app/node_modules/webgpu/dist/linux-x64/dawn.node
if [ -f "$dawn.xz" ] && [ ! -f "$dawn" ]; then
  python3 -c "import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1] + '.xz'), open(sys.argv[1], 'wb'))" "$dawn"
fi
export DARKROOM_CUDA_ADDON="$PWD/darkroom_cuda.node" DARKROOM_COMMIT=${commit}
# Every stage is a process of its own; what one compiled and tuned serves the next, and the next visit as its seed.
export DARKROOM_CACHE="\${DARKROOM_CACHE:-$results/cache}"
mkdir -p "$DARKROOM_CACHE"
if [ -d seed ]; then cp -rn seed/. "$DARKROOM_CACHE/"; fi
data="$PWD"
goldens="$data/goldens"
model="$data/model"
if [ ! -d "$goldens" ]; then
  goldens="$data/../fixtures/goldens"
  model="$data/../models/emoji-64"
fi
exec \${DARKROOM_UNDER:-} "$node" app/verify.js "$goldens" --model "$model" --torch torch --json "$results/verify.json" "$@"
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
