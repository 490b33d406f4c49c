// What the machine is and has, as its own tools tell it, in one file: nothing of it can be asked later.

import { execFile, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { diagnose } from '@darkroom/backend-cuda';
import type { StageContext } from './stage.ts';

const packages = `import importlib.metadata as m
for d in sorted(m.distributions(), key=lambda d: (d.metadata['Name'] or '').lower()):
    name = d.metadata['Name'] or ''
    if any(part in name.lower() for part in ('torch', 'triton', 'nvidia', 'cuda', 'numpy')): print(name, d.version)`;

const commands: readonly (readonly [name: string, ...args: readonly string[]])[] = [
  ['nvidia-smi', '-q'],
  ['nvidia-smi', 'topo', '-m'],
  ['python3', '-c', packages],
  ['sh', '-c', "ldconfig -p | grep -iE 'cuda|cudnn|cublas|nvrtc|vulkan'"],
  ['sh', '-c', 'nproc; free -m; uname -a; lscpu | head -20; df -h . /tmp; ldd --version | head -1'],
  ['sh', '-c', 'command -v ncu nsys compute-sanitizer cuobjdump nvdisasm nvcc'],
  ['sh', '-c', "env | grep -E '^(CUDA|NVIDIA|LD_LIBRARY|DARKROOM)' | sort; ulimit -a"],
];
const seconds = 7;

/** Reads CUDA's libraries once in the background: the first reading of a cold disk takes longer than all that follow. */
function warmLibraries(): void {
  for (const library of Object.values(diagnose().libraries)) {
    if (!library.found || !library.path.includes('/')) continue;
    const read = ['-c', 'cat "$0"/lib*.so* > /dev/null 2>&1', dirname(library.path)];
    if (!/cudnn|cublas|nvrtc/.test(library.path)) continue;
    spawn('sh', read, { detached: true, stdio: 'ignore' })
      .on('error', () => {})
      .unref();
  }
}

/** A stage: writes box.txt. */
export async function box({ options, record }: StageContext): Promise<void> {
  if (options.device === 'cuda' && process.env['DARKROOM_CUDA'] !== 'emulator') warmLibraries();
  const path = join(options.results, 'box.txt');
  const texts = commands.map(([name]) => `$ ${name}: no answer\n`);
  const write = (): void => writeFileSync(path, texts.join('\n'));
  await Promise.all(
    commands.map(
      ([name, ...args], i) =>
        new Promise<void>((done) => {
          execFile(name, args, { timeout: 1000 * seconds, maxBuffer: 1 << 22 }, (error, stdout, stderr) => {
            const end = error ? `\n(${error.message.slice(0, 200)})` : '';
            texts[i] = `$ ${name} ${args.join(' ')}\n${stdout}${stderr}${end}\n`;
            write();
            done();
          });
        }),
    ),
  );
  record({ kind: 'fact', name: 'box', value: { file: 'box.txt' } });
}
