// Parts of the command that need no picture: progress, hints, completion, the doctor's verdicts.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DeviceError } from '@darkroom/core';
import { backgrounds, subjects } from '@darkroom/emoji-64';
import { root, temporaryFolder } from '@darkroom/diffusers/testing';
import { examine, nodeVersion, printed } from './doctor.ts';
import { withOptionalValues } from './optional-values.ts';
import { bytesText, durationText, Progress, workLine, workText } from './progress.ts';
import { hintFor } from './subjects.ts';

const main = join(root, 'packages/cli/dist/main.js');
const darkroom = (...args: string[]): { status: number | null; out: string } => {
  const { status, stdout } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
  return { status, out: stdout };
};

test('progress tells bytes, rate and what remains, and fits any width', () => {
  const work = { label: 'downloading unet', done: 1.2e9, total: 3.4e9, unit: 'bytes', seconds: 100 } as const;
  expect(workText(work)).toBe('downloading unet: 1.2 GB of 3.4 GB, 12.0 MB/s, 3 min left');
  expect(workLine(work, 100)).toMatch(/^\[=+ +\] downloading unet: .* left$/);
  expect(workText({ ...work, done: 0, seconds: 0 })).toBe('downloading unet: 0 B of 3.4 GB');
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 300 }),
      fc.string({ maxLength: 60 }),
      fc.nat(1000),
      (columns, label, done) => {
        const line = workLine({ ...work, label, done, total: 1000 }, columns);
        expect(line.length).toBeLessThanOrEqual(Math.max(1, columns - 1));
      },
    ),
  );
  expect([999, 1000, 123_456, 99_950_000, 2e12].map(bytesText)).toEqual([
    '999 B',
    '1.0 kB',
    '123 kB',
    '100.0 MB',
    '2.0 TB',
  ]);
  expect([0.2, 89, 600, 7800].map(durationText)).toEqual(['1 s', '89 s', '10 min', '2 h 10 min']);
});

test('a terminal gets one line that is taken away, anything else whole lines', () => {
  const written: string[] = [];
  const sink = { isTTY: true, columns: 40, write: (text: string) => written.push(text) };
  const progress = new Progress(sink);
  const long = performance.now() + 150;
  while (performance.now() < long);
  progress.report('loading', 10, 100, 'bytes');
  expect(written.join('')).toMatch(/^\r\x1b\[K[^\n]{1,39}$/);
  progress.report('loading', 100, 100, 'bytes');
  expect(written.join('').endsWith('\r\x1b[K')).toBe(true);
  const lines: string[] = [];
  const plain = new Progress({ isTTY: false, write: (text) => lines.push(text) });
  for (let i = 0; i <= 100; i++) plain.report('loading', i, 100, 'bytes');
  plain.bar(1, 'compiling').stop();
  expect(lines).toEqual(['compiling kernels for these sizes\n']);
  const silent = new Progress(undefined);
  silent.report('loading', 1, 2, 'bytes');
  silent.bar(2, 'denoising').update(2);
});

test('what the embedded model knows gets no hint; anything else its nearest', () => {
  for (const subject of subjects) {
    expect(hintFor(`a ${subject}`)).toBeUndefined();
    for (const background of backgrounds)
      expect(hintFor(`a ${subject} on a ${background} background`)).toBeUndefined();
  }
  for (const prompt of ['Two FOXES', 'three cats', 'cherry, cherries'])
    expect(hintFor(prompt)).toBeUndefined();
  const near: readonly [string, string][] = [
    ['a puppy', 'dog'],
    ['an apple', 'red apple'],
    ['a strawbery', 'strawberry'],
    ['a heart', 'red heart'],
    ['a penguine', 'penguin'],
  ];
  for (const [prompt, subject] of near) expect(hintFor(prompt)).toContain(`the nearest is '${subject}'`);
  expect(hintFor('')).toContain('darkroom subjects lists them');
  expect(hintFor('a fox on a purple background')).toContain(
    'white, black, red, green, blue, yellow, pink, not purple',
  );
  expect(darkroom('subjects').out.split('\n').slice(0, subjects.length)).toEqual(subjects);
});

test('values of options are joined only where they are values', () => {
  const words = (...list: string[]): string => withOptionalValues(list).join(' ');
  expect(words('--trace', 'unet.graph.json', 'a')).toBe('--trace=unet.graph.json a');
  expect(words('--trace', 'a fox')).toBe('--trace= a fox');
  expect(words('--vae-tiling', '512', '--attention-slicing', 'max')).toBe(
    '--vae-tiling=512 --attention-slicing=max',
  );
  expect(words('a', '--vae-tiling')).toBe('a --vae-tiling=');
  expect(words('--', '--trace', 'x.json')).toBe('-- --trace x.json');
});

test('completion scripts know every command and option, and their shells read them', () => {
  const folder = temporaryFolder();
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { status, out } = darkroom('completion', shell);
    expect(status).toBe(0);
    for (const word of ['generate', 'doctor', 'inspect', 'negative', 'dpm++2m_karras', 'bfloat16'])
      expect(out).toContain(word);
    const script = join(folder.path, shell);
    writeFileSync(script, out);
    const read = spawnSync(shell, ['-n', script], { encoding: 'utf8' });
    if (read.error === undefined) expect([shell, read.stderr]).toEqual([shell, '']);
  }
  folder.remove();
  expect(darkroom('completion', 'tcsh').status).toBe(2);
});

test('bash completes with the script', () => {
  const { out } = darkroom('completion', 'bash');
  const complete = (...words: string[]): string[] => {
    const line = words.map((word) => `'${word}'`).join(' ');
    const script = `${out}\nCOMP_WORDS=(${line}); COMP_CWORD=${words.length - 1}; _darkroom; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return spawnSync('bash', ['-c', script], { encoding: 'utf8' }).stdout.trim().split('\n');
  };
  expect(complete('darkroom', 'gen')).toEqual(['generate']);
  expect(complete('darkroom', 'generate', '--sch')).toEqual(['--scheduler']);
  expect(complete('darkroom', 'generate', '--scheduler', 'dpm++2m_s')).toEqual([
    'dpm++2m_sde',
    'dpm++2m_sde_karras',
  ]);
  expect(complete('darkroom', 'generate', '-d', 'c')).toEqual(['cpu', 'cuda']);
  expect(complete('darkroom', 'completion', '')).toEqual(['bash', 'zsh', 'fish']);
});

test('the doctor tells what works, what does not, and the command that mends it', async () => {
  const { status, out } = darkroom('doctor');
  expect(out).toMatch(/^works {4}node +\d+\.\d+/);
  expect(out).toMatch(/works {4}cpu +WebAssembly SIMD/);
  expect(out).toMatch(/works {4}model +emoji-64 draws 64x64\nworks {4}pictures +PNG, JPEG and WebP/);
  expect([status, out.endsWith('pictures can be drawn here\n')]).toEqual([0, true]);
  const refuse = (message: string) => (): Promise<string> => Promise.reject(new DeviceError(message));
  const findings = await examine([
    {
      name: 'cuda',
      isNeeded: false,
      try: refuse('cuda: the package x is not installed: npm install @darkroom/backend-cuda'),
    },
    {
      name: 'webgpu',
      isNeeded: false,
      try: refuse('webgpu: no adapter'),
      mend: 'apt install x',
    },
    {
      name: 'model',
      isNeeded: true,
      try: refuse('model: unet is damaged'),
      mend: 'npm install @darkroom/cli',
    },
  ]);
  expect(findings.map((one) => one.mend)).toEqual([
    'npm install @darkroom/backend-cuda',
    'apt install x',
    'npm install @darkroom/cli',
  ]);
  expect(printed(findings)).toContain(
    'FAILS    model     unet is damaged\n                   mend: npm install @darkroom/cli\n',
  );
  expect(printed(findings).endsWith('pictures cannot be drawn here: model\n')).toBe(true);
  expect(() => nodeVersion('20.18.1')).toThrow('is 20.18.1; darkroom needs 20.19 or newer');
  expect(nodeVersion('22.0.0')).toContain('22.0.0');
});
