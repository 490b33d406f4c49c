// The root commands on a bare Node: brings the pinned pnpm, installs from the frozen lockfile, builds what is stale,
// then runs. Nothing here is needed in daily work (`pnpm build`, `pnpm vitest`).
// Usage: node scripts/run.mjs start|darkroom|test|bench|docs|setup [args]

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const stampFile = join(root, 'node_modules', '.darkroom-setup.json');

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`darkroom needs Node 20.19 or newer; this is ${process.versions.node}`);
  process.exit(1);
}

/** Runs a program; output goes to stderr so that a command's stdout stays its own. Exits with its code on failure. */
function step(title, command, args) {
  process.stderr.write(`${title} …\n`);
  const done = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: process.platform === 'win32',
    encoding: 'utf8',
    maxBuffer: 64 * 2 ** 20,
  });
  if (done.status === 0) return;
  process.stderr.write(`${done.stdout ?? ''}${done.stderr ?? ''}`);
  console.error(`${title}: failed (${done.error?.message ?? `exit code ${done.status}`})`);
  process.exit(done.status || 1);
}

const digest = (texts) =>
  texts.reduce((h, t) => h.update(t).update('\0'), createHash('sha256')).digest('hex');
const read = (...path) => readFileSync(join(root, ...path), 'utf8');

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, 'utf8'));
  } catch {
    return {};
  }
}

/** Path, size and time of every source file: cheap, and enough to see that a build is stale. */
function sourceState() {
  const out = [];
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (/\.(ts|json)$/.test(entry.name)) {
        const { size, mtimeMs } = statSync(path);
        out.push(`${path} ${size} ${mtimeMs}`);
      }
    }
  };
  for (const name of readdirSync(join(root, 'packages'))) {
    const source = join(root, 'packages', name, 'src');
    if (existsSync(source)) walk(source);
  }
  return digest([...out.sort(), read('tsconfig.base.json')]);
}

function setup() {
  const stamp = readStamp();
  const manifests = readdirSync(join(root, 'packages')).map((p) => read('packages', p, 'package.json'));
  const wanted = digest([
    read('package.json'),
    read('pnpm-lock.yaml'),
    read('pnpm-workspace.yaml'),
    ...manifests,
  ]);
  const { packageManager } = JSON.parse(read('package.json'));
  if (stamp.install !== wanted) {
    step('installing packages', 'npx', [
      '--yes',
      packageManager,
      'install',
      '--frozen-lockfile',
      '--prefer-offline',
    ]);
  }
  const sources = sourceState();
  if (stamp.build !== sources || stamp.install !== wanted) {
    step('building', process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b']);
  }
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, JSON.stringify({ install: wanted, build: sources }));
}

function run(script, args) {
  const child = spawnSync(process.execPath, [script, ...args], {
    cwd: process.env.INIT_CWD ?? process.cwd(),
    stdio: 'inherit',
  });
  process.exit(child.status ?? 1);
}

// Ctrl-C belongs to the program that runs, which shuts down by itself; its exit code is passed on.
process.on('SIGINT', () => {});

const [command, ...args] = process.argv.slice(2);
const main = (name) => join(root, 'packages', name, 'dist', 'main.js');
setup();
switch (command) {
  case 'setup':
    break;
  case 'start':
    run(main('cli'), ['generate', ...args]);
    break;
  case 'darkroom':
    // The reference cases are a package of their own, which is not published with the command.
    if (args[0] === 'conformance') run(main('conformance'), args.slice(1));
    run(main('cli'), args);
    break;
  case 'bench':
    run(join(root, 'packages', 'bench', 'dist', 'cli.js'), args);
    break;
  case 'docs':
    run(join(root, 'docs', 'site', 'node_modules', 'vitepress', 'bin', 'vitepress.js'), [
      'build',
      join(root, 'docs', 'site'),
      ...args,
    ]);
    break;
  case 'test':
    run(join(root, 'node_modules', 'vitest', 'vitest.mjs'), ['run', '--root', root, ...args]);
    break;
  default:
    console.error(`unknown command '${command}': start, darkroom, test, bench, docs or setup`);
    process.exit(2);
}
