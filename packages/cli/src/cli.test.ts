// The darkroom command as a user runs it: built, in its own process.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Image } from '@darkroom/diffusers';
import { root, temporaryFolder } from '@darkroom/diffusers/testing';

const main = join(root, 'packages/cli/dist/main.js');
let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

function darkroom(...args: string[]): { status: number | null; out: string; err: string } {
  const done = spawnSync(process.execPath, [main, ...args], { cwd: folder.path, encoding: 'utf8' });
  return { status: done.status, out: done.stdout, err: done.stderr };
}

describe('generate', () => {
  test('writes a picture and says where, with what, how fast', () => {
    const { status, err, out } = darkroom(
      'generate',
      'a fox',
      '-o',
      'fox.png',
      '--steps',
      '3',
      '--seed',
      '1',
    );
    expect(err).toMatch(
      /wrote fox\.png \(64x64\)\ndevice cpu \(WebAssembly SIMD.*\), seed 1, \d steps, [\d.]+ s a step, [\d.]+ s in all, peak memory \d+ MiB in tensors, \d+ MiB in the process\n/,
    );
    expect([status, out]).toEqual([0, '']);
    expect(Image.fromPng(readFileSync(join(folder.path, 'fox.png'))).width).toBe(64);
  });

  test('several images are numbered; quiet says the seeds alone', () => {
    const { status, err } = darkroom(
      'generate',
      'a fox',
      '-o',
      'fox.png',
      '-n',
      '2',
      '-c',
      '2',
      '-s',
      '1',
      '-q',
    );
    expect([status, err]).toEqual([0, 'seed 1, 2\n']);
    expect(readdirSync(folder.path).sort()).toEqual(['fox-1.png', 'fox-2.png']);
  });

  test('a picture is drawn over, a part of it painted anew, with every memory switch', () => {
    const quick = ['-n', '8', '-s', '1', '-q'];
    darkroom('generate', 'a fox on a blue background', '-o', 'fox.png', ...quick);
    const read = (name: string): Image => Image.fromPng(readFileSync(join(folder.path, name)));
    const over = ['--image', 'fox.png', '--strength', '0.5', '--width', '96', '--height', '64'];
    const memory = ['--vae-slicing', '--vae-tiling', '--attention-slicing', 'max'];
    const drawn = darkroom(
      'generate',
      'a fox on a red background',
      '-o',
      'red.png',
      ...over,
      ...memory,
      '-c',
      '2',
      ...quick,
    );
    expect(drawn.status, drawn.err).toBe(0);
    expect([read('red-2.png').width, read('red-2.png').height]).toEqual([96, 64]);
    const half = Uint8ClampedArray.from({ length: 40 * 40 * 3 }, (_, i) =>
      Math.floor(i / 3) % 40 < 20 ? 0 : 255,
    );
    writeFileSync(join(folder.path, 'mask.png'), new Image(40, 40, half).toPng());
    const masked = ['--image', 'fox.png', '--mask', 'mask.png'];
    const painted = darkroom('generate', 'a fox', '-o', 'in.png', ...masked, ...quick);
    expect(painted.status, painted.err).toBe(0);
    expect(read('in.png').width).toBe(64);
    const tooStrong = darkroom('generate', 'a fox', ...masked, '--strength', '2', ...quick);
    expect([tooStrong.status, tooStrong.err]).toEqual([
      2,
      expect.stringContaining('must be from 0 to 1, got 2'),
    ]);
  });

  test('without a prompt it says how to use it', () => {
    const { status, err } = darkroom('generate');
    expect(status).toBe(2);
    expect(err).toContain('npm start -- "a fox on a blue background" -o fox.png');
  });

  const bad: readonly [string[], number, string][] = [
    [['--steps', 'x'], 2, "must be an integer, got 'x'"],
    [['--steps', '-3'], 2, 'must be an integer >= 1, got -3'],
    [['--count', '0'], 2, 'must be an integer >= 1, got 0'],
    [['--width', '65'], 1, 'width: must be divisible by 4'],
    [['--device', 'abacus'], 2, 'Allowed choices are auto, cpu, webgpu, cuda'],
    [['--seed', '-1'], 2, 'must be an integer from 0 to 2^64 - 1'],
    [['--dtype', 'int4'], 2, 'Allowed choices are float32, float16, bfloat16'],
    [['--model', './nowhere'], 1, 'nowhere'],
    [['--scheduler', 'eulr'], 2, "or a class, got 'eulr'; did you mean 'euler'?"],
    [['-o', 'fox.gif'], 2, '--output: fox.gif: pictures are written as PNG, JPEG or WebP'],
    [['-o', 'fox.png', '--format', 'jpeg'], 2, 'its ending says PNG, and format says JPEG'],
    [['-o', 'fox.png', '--quality', '90'], 2, '--quality: PNG loses nothing and has none'],
    [['-o', 'fox.jpg', '--quality', '101'], 2, 'must be an integer from 1 to 100, got 101'],
    [['-o', '-', '--json'], 2, '--json: standard output takes the result or'],
    [['-o', '-', '-c', '2'], 2, 'standard output takes one picture, not 2; join them with --grid'],
    [['-o', 'x.jpg', '--negative', 'x'.repeat(10_000)], 2, 'holds prompts of 10000 characters, got 10005'],
    [['--colour'], 2, 'unknown option'],
    [['--mask', 'x.png'], 2, '--mask: says what to paint anew in a picture; give that with --image'],
    [['--strength', '0.5'], 2, '--strength: says how much of a picture to replace; give that with --image'],
    [['--image', 'none.png'], 1, "--image: picture 'none.png': there is no such file"],
    [['--image', main], 1, '--image: '],
    [['--vae-tiling', '30'], 1, "enableTiling: tileSize must be a multiple of 4 (the VAE's scale)"],
    [['--attention-slicing=most'], 2, "must be auto, max or an integer >= 1, got 'most'"],
    [
      ['--trace', '--offload', 'sequential'],
      2,
      '--offload sequential brings them layer by layer; leave one of them out',
    ],
    [['--attention-slicing', '9'], 1, 'attention slice: 9 is more than the 4 heads of down_blocks'],
    [
      ['--prompt-file', 'none.txt'],
      2,
      '--prompt-file: holds the prompts; leave the prompt on the command line out',
    ],
    [['--config', 'none.json'], 1, 'ENOENT'],
    [['--from', 'none.png'], 1, "picture 'none.png': there is no such file"],
  ];
  test.each(bad)('%j is one clear error and leaves no file', (args, code, message) => {
    const { status, err } = darkroom('generate', 'a fox', ...args);
    expect(err).toContain(message);
    expect(err).not.toContain('    at ');
    expect(status).toBe(code);
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test('places that cannot be written are told before anything is drawn', () => {
    mkdirSync(join(folder.path, 'taken.png'));
    mkdirSync(join(folder.path, 'many-3.png'));
    writeFileSync(join(folder.path, 'file'), '');
    const before = readdirSync(folder.path);
    const bad: readonly [string[], string][] = [
      [['-o', 'taken.png'], 'taken.png: cannot be written, it is a folder'],
      [['-o', 'file/x.png'], 'file/x.png: cannot be written (a part of its path is a file)'],
      [['-o', 'many.png', '-c', '3'], 'many-3.png: cannot be written, it is a folder'],
      [['-o', `${'n'.repeat(300)}.png`], `${'n'.repeat(300)}.png: cannot be written (ENAMETOOLONG`],
    ];
    for (const [args, message] of bad) {
      // A model that is not there would be found out after the place.
      const { status, err } = darkroom('generate', 'a fox', '--model', './nowhere', ...args);
      expect([status, err]).toEqual([1, expect.stringContaining(`darkroom: ${message}`)]);
      expect(err).not.toContain('.tmp');
    }
    const traced = darkroom('trace', '--model', './nowhere', '-o', 'taken.png');
    expect(traced.err).toBe('darkroom: taken.png: cannot be written, it is a folder\n');
    expect(readdirSync(folder.path)).toEqual(before);
  });

  test.runIf(process.platform === 'linux')('so is a disk without room for all pictures', () => {
    // A file may hold 8 KiB: the folder can be written, a picture of this size cannot.
    const args = ['generate', 'a fox', '-o', 'fox.png', '--width', '128', '--height', '128', '-n', '900'];
    const done = spawnSync(
      'bash',
      ['-c', 'ulimit -f 8; exec "$@"', 'bash', process.execPath, main, ...args],
      {
        cwd: folder.path,
        encoding: 'utf8',
      },
    );
    expect(done.stderr).toBe('darkroom: fox.png: cannot be written (EFBIG: file too large)\n');
    expect([done.status, readdirSync(folder.path)]).toEqual([1, []]);
  });

  test('a missing folder is made for the picture, and only for it', () => {
    const quick = ['-n', '1', '-s', '1', '-q'];
    expect(darkroom('generate', 'a fox', '-o', 'a/b/fox.png', '--width', '65', ...quick).status).toBe(1);
    expect(readdirSync(folder.path)).toEqual([]);
    expect(darkroom('generate', 'a fox', '-o', 'a/b/fox.png', ...quick).status).toBe(0);
    expect(readdirSync(join(folder.path, 'a/b'))).toEqual(['fox.png']);
  });

  test('a cache that cannot be written fails nothing', () => {
    writeFileSync(join(folder.path, 'file'), '');
    const args = [
      'generate',
      'a fox',
      '-o',
      'fox.png',
      '-d',
      'cpu',
      '-n',
      '1',
      '-s',
      '1',
      '-q',
      '--autotune',
    ];
    const { status, stderr } = spawnSync(process.execPath, [main, ...args], {
      cwd: folder.path,
      encoding: 'utf8',
      env: { ...process.env, DARKROOM_CACHE: join(folder.path, 'file') },
    });
    expect(status, stderr).toBe(0);
    expect(stderr.split('\n').filter((line) => line.includes('are not kept')).length).toBeLessThanOrEqual(1);
    expect(existsSync(join(folder.path, 'fox.png'))).toBe(true);
  });

  test('a damaged picture is told by its path', () => {
    writeFileSync(join(folder.path, 'x.jpg'), Buffer.from('ffd8ffe000104a46494600010100', 'hex'));
    const { status, err } = darkroom('generate', 'a fox', '--image', 'x.jpg');
    expect([status, err]).toEqual([
      1,
      expect.stringMatching(/^darkroom: --image: x\.jpg: not a readable JPEG: it ends inside a segment/),
    ]);
  });

  test('Ctrl-C stops within a step and leaves no half-written file', async () => {
    // Tells when Ctrl-C is listened for, then when twenty turns of the event loop were asked for, as steps do.
    const tell = `data:text/javascript,
      import { writeSync } from 'node:fs';
      process.on('newListener', (name, listener) => {
        if (name !== 'SIGINT' || listener.name !== 'stop') return;
        queueMicrotask(() => writeSync(2, '[listens]'));
        const ask = globalThis.setImmediate;
        let turns = 0;
        globalThis.setImmediate = (...args) => (++turns === 20 && writeSync(2, '[runs]'), ask(...args));
      });`;
    for (const moment of ['[listens]', '[runs]']) {
      const args = [
        '--import',
        tell.replaceAll('\n', ''),
        main,
        'generate',
        'a fox',
        '-o',
        'fox.png',
        '--steps',
        '900',
      ];
      const child = spawn(process.execPath, args, { cwd: folder.path });
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        const before = said.includes(moment);
        said += text;
        if (!before && said.includes(moment)) child.kill('SIGINT');
      });
      const status = await new Promise((resolve) => child.once('exit', resolve));
      expect(status, said).toBe(130);
      expect(said).not.toContain('wrote');
      expect(readdirSync(folder.path)).toEqual([]);
    }
  });
});

describe('trace', () => {
  test('writes a file that generate draws the same picture with', () => {
    const traced = darkroom('trace', '-o', 'unet.graph.json', '-d', 'cpu');
    expect(traced.err).toMatch(
      /^\(float32\[2,4,16,16\], float32\[1\], \{ encoderHiddenStates: float32\[2,77,128\] \}\): \d+ ops → \d+ kernels, \d+ at every call; values [\d.]+ MiB → [\d.]+ MiB in 1 buffer; at least [\d.]+ ms at the device's own rates\nwrote unet\.graph\.json\n$/,
    );
    expect([traced.status, traced.out]).toEqual([0, '']);
    const steps = ['-n', '4', '--scheduler', 'DDIMScheduler', '-s', '1'];
    const common = ['generate', 'a fox', '-d', 'cpu', ...steps, '-q', '-o'];
    const silent = { status: 0, out: '', err: 'seed 1\n' };
    expect(darkroom(...common, 'eager.png')).toEqual(silent);
    const whole = darkroom('generate', 'a fox', '-d', 'cpu', ...steps, '-o', 'traced.png', '--trace');
    expect(whole.err).toMatch(/^\(\{.*latents: float32\[1,4,16,16\].*: \d+ ops → \d+ kernels/m);
    expect(darkroom(...common, 'loaded.png', '--trace', 'unet.graph.json')).toEqual(silent);
    for (const file of [[], ['unet.graph.json']]) {
      const offloaded = [...common, `offloaded-${file.length}.png`, '--offload', 'model', '--trace', ...file];
      expect(darkroom(...offloaded)).toEqual(silent);
    }
    const picture = (name: string): Buffer => readFileSync(join(folder.path, name));
    expect(picture('traced.png').equals(picture('eager.png'))).toBe(true);
    for (const name of ['loaded.png', 'offloaded-0.png', 'offloaded-1.png'])
      expect(picture(name).equals(picture('eager.png')), name).toBe(true);
    const two = darkroom('generate', 'a fox', '-d', 'cpu', '-c', '2', '-q', '--trace', 'unet.graph.json');
    expect([two.status, two.err]).toEqual([
      1,
      expect.stringContaining('[unet] call: was traced for (float32[2,4,16,16]'),
    ]);
  });

  test('a file that is no trace is one clear error', () => {
    const model = join(root, 'models/emoji-64/model_index.json');
    const { status, err } = darkroom('generate', 'a fox', '-d', 'cpu', '-q', '--trace', model);
    expect([status, err]).toEqual([1, `darkroom: ${model}: is not a trace (no format 'darkroom.trace')\n`]);
  });
});

test('devices lists the CPU and what is missing', () => {
  const { status, out } = darkroom('devices');
  expect(status).toBe(0);
  expect(out).toMatch(/^cpu +WebAssembly SIMD.*\n[\s\S]*webgpu[\s\S]*cuda/);
});

test('help shows examples; an unknown command is an error', () => {
  const { status, out } = darkroom('--help');
  expect(status).toBe(0);
  expect(out).toContain('darkroom generate "a fox on a blue background" -o fox.png');
  expect(darkroom('paint').status).toBe(2);
});
