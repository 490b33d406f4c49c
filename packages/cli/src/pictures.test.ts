// Pictures that the command writes: formats, what they tell, drawn again alone and from what they tell; prompts from
// files and standard input, a config file, results as JSON.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Image } from '@darkroom/diffusers';
import type { PictureParameters } from '@darkroom/diffusers';
import { root, temporaryFolder } from '@darkroom/diffusers/testing';

const main = join(root, 'packages/cli/dist/main.js');
let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

interface Ran {
  readonly status: number | null;
  readonly out: Buffer;
  readonly err: string;
}
function darkroom(args: readonly string[], input = ''): Ran {
  const done = spawnSync(process.execPath, [main, ...args], { cwd: folder.path, input });
  return { status: done.status, out: done.stdout, err: done.stderr.toString() };
}
const quick = ['-d', 'cpu', '-n', '2', '-q'];
function draws(...args: readonly string[]): Ran {
  const ran = darkroom(['generate', ...args, ...quick]);
  expect(ran.status, ran.err).toBe(0);
  return ran;
}
const load = (name: string): Promise<Image> => Image.load(join(folder.path, name));
const pixels = async (name: string): Promise<Buffer> => Buffer.from((await load(name)).data);
const write = (name: string, text: string | Uint8Array): void => writeFileSync(join(folder.path, name), text);

describe('formats', () => {
  test('the ending chooses what the file holds, --format where there is none, and - is standard output', async () => {
    draws('a fox', '-s', '1', '-o', 'fox.jpg', '--quality', '80');
    draws('a fox', '-s', '1', '-o', 'fox.webp');
    draws('a fox', '-s', '1', '-o', 'fox', '--format', 'webp');
    const start = (name: string): string =>
      readFileSync(join(folder.path, name)).subarray(0, 4).toString('latin1');
    expect([start('fox.jpg'), start('fox.webp'), start('fox')]).toEqual(['\xff\xd8\xff\xe0', 'RIFF', 'RIFF']);
    const { out, err } = draws('a fox', '-s', '1', '-o', '-');
    const piped = await Image.decode(out);
    expect([piped.width, err]).toEqual([64, 'seed 1\n']);
    expect((await load('fox.webp')).parameters).toEqual(piped.parameters);
    draws('a fox', '-s', '1', '-o', 'bare.png', '--no-parameters');
    expect((await load('bare.png')).parameters).toBeUndefined();
  });

  test('--grid joins all pictures', async () => {
    draws('a fox', '-s', '1', '-c', '3', '-o', 'all.png', '--grid');
    draws('a fox', '-s', '3', '-o', 'third.png');
    const [all, third] = [await load('all.png'), await load('third.png')];
    expect([all.width, all.height, readdirSync(folder.path).length]).toEqual([128, 128, 2]);
    for (let y = 0; y < 64; y++) {
      const row = (64 + y) * 128 * 3;
      const line = Buffer.from(all.data.subarray(row, row + 192));
      expect(line.equals(Buffer.from(third.data.subarray(y * 192, y * 192 + 192)))).toBe(true);
    }
    expect([...all.data.subarray(-3)]).toEqual([255, 255, 255]);
  });
});

describe('a picture is drawn again', () => {
  test('alone by its own seed: picture 2 of 3 is the same', async () => {
    const { err } = darkroom([
      'generate',
      'a fox',
      '-c',
      '3',
      '-s',
      '5',
      '-o',
      'fox.png',
      '-d',
      'cpu',
      '-n',
      '2',
    ]);
    expect(err).toContain('wrote fox-2.png (64x64), seed 6\n');
    expect(err).toContain('seed 5, 6, 7');
    draws('a fox', '-s', '6', '-o', 'alone.png');
    expect((await pixels('alone.png')).equals(await pixels('fox-2.png'))).toBe(true);
    const last = 2n ** 64n - 1n;
    draws('a fox', '-c', '2', '-s', String(last), '-o', 'end.png');
    const seeds = [(await load('end-1.png')).parameters?.seed, (await load('end-2.png')).parameters?.seed];
    expect(seeds).toEqual([last, 0]);
  });

  test('from what it tells, in every format; options of the command line override', async () => {
    for (const name of ['one.png', 'two.jpg', 'three.webp']) {
      const extra = [
        '-s',
        '3',
        '-g',
        '3',
        '--scheduler',
        'euler_a',
        '--negative',
        'a "cat", red: no\nNegative prompt: x',
      ];
      draws('a fox', ...extra, '-o', name);
      const again = darkroom(['generate', '--from', name, '-o', 'again.png', '-d', 'cpu', '-q']);
      expect([again.status, again.err]).toEqual([0, 'seed 3\n']);
      const [told, retold] = [(await load(name)).parameters, (await load('again.png')).parameters];
      expect(retold).toEqual(told);
      expect(told).toMatchObject({ prompt: 'a fox', steps: 2, scheduler: 'euler_a', guidanceScale: 3 });
    }
    expect((await pixels('again.png')).equals(await pixels('one.png'))).toBe(true);
    draws('a cat', '--from', 'one.png', '-s', '4', '-o', 'other.png');
    expect((await load('other.png')).parameters).toMatchObject({
      prompt: 'a cat',
      seed: 4,
      guidanceScale: 3,
    });
  });

  test('also one of several that one seed drew', async () => {
    const told: PictureParameters = {
      prompt: 'a fox',
      steps: 2,
      seed: 1,
      guidanceScale: 4,
      width: 64,
      height: 64,
      scheduler: 'pndm',
      model: 'emoji-64',
      batchSize: 2,
      batchIndex: 1,
    };
    const [white] = [new Image(64, 64, new Uint8ClampedArray(64 * 64 * 3))];
    write('told.png', await white.encode('png', { parameters: told }));
    draws('--from', 'told.png', '-o', 'again.png');
    expect((await load('again.png')).parameters).toMatchObject({ seed: 1, batchSize: 2, batchIndex: 1 });
    draws('a fox', '-s', '1', '-o', 'first.png');
    expect((await pixels('again.png')).equals(await pixels('first.png'))).toBe(false);
  });

  test.each<[string, Partial<PictureParameters> | undefined, number, string]>([
    ['tells nothing', undefined, 1, 'x.png: does not tell how it was drawn'],
    [
      'names a path',
      { model: '../../models/emoji-64' },
      2,
      "the model '../../models/emoji-64', and does not tell",
    ],
    ['steers the terminal', { model: 'a\x1b]0;b' }, 2, "the model 'a\ufffd]0;b', and does not tell"],
    ['tells no model', {}, 2, '--from: x.png does not tell its model; give that with --model'],
    ['was drawn elsewhere', { model: 'sd15' }, 2, "with the model 'sd15', and does not tell where that is"],
    [
      'has another sampler',
      { model: 'emoji-64', scheduler: 'DPM fast' },
      2,
      "the sampler 'DPM fast', which is not here",
    ],
    [
      'lay over another',
      { model: 'emoji-64', strength: 0.5 },
      2,
      'was drawn over another picture; give that with --image',
    ],
  ])('a picture that %s is one clear error', async (_, parameters, status, message) => {
    const image = new Image(8, 8, new Uint8ClampedArray(192));
    const told = parameters && { prompt: 'a fox', steps: 1, seed: 1, ...parameters };
    write('x.png', await image.encode('png', { parameters: told ?? false }));
    const ran = darkroom(['generate', '--from', 'x.png']);
    expect([ran.status, ran.err]).toEqual([status, expect.stringContaining(message)]);
    expect(readdirSync(folder.path)).toEqual(['x.png']);
  });
});

describe('inspect', () => {
  test('prints what a picture tells, as text and as JSON', async () => {
    draws('a fox', '-s', '18446744073709551615', '-o', 'fox.webp');
    const text = darkroom(['inspect', 'fox.webp']).out.toString();
    expect(text).toMatch(/^prompt +a fox\nsteps +2\nscheduler +pndm\n/);
    expect(text).toMatch(/\nseed +18446744073709551615\n/);
    const json = JSON.parse(darkroom(['inspect', '--json', 'fox.webp']).out.toString()) as object;
    expect(json).toMatchObject([{ file: 'fox.webp', prompt: 'a fox', seed: '18446744073709551615' }]);
  });

  test('a picture without parameters, no picture and no file are one line', async () => {
    write('bare.png', new Image(2, 2, new Uint8ClampedArray(12)).toPng());
    write('text.png', 'hello');
    expect(darkroom(['inspect', 'bare.png'])).toMatchObject({
      status: 1,
      err: 'darkroom: bare.png: does not tell how it was drawn (it has no parameters beside its pixels)\n',
    });
    expect(darkroom(['inspect', 'text.png']).err).toContain('text.png: not a readable PNG');
    expect(darkroom(['inspect', 'none.png']).err).toContain("picture 'none.png': there is no such file");
    expect(darkroom(['inspect']).status).toBe(2);
  });

  test("a stranger's text cannot steer the terminal", async () => {
    const image = new Image(2, 2, new Uint8ClampedArray(12));
    write(
      'evil.png',
      await image.encode('png', { parameters: { prompt: 'a\x1b]0;b\x07\r', steps: 1, seed: 1 } }),
    );

    expect(darkroom(['inspect', 'evil.png']).out.toString()).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
  });
});

describe('where prompts and options come from', () => {
  test('standard input, and the lines of a file: a picture each, with seeds that go on', async () => {
    const piped = darkroom(['generate', '-', '-o', 'in.png', '-s', '1', ...quick], 'a fox\non a lake\n');
    expect([piped.status, (await load('in.png')).parameters?.prompt]).toEqual([0, 'a fox\non a lake']);
    write('prompts.txt', 'a fox\r\n\n  a cat  \n');
    draws('--prompt-file', 'prompts.txt', '-c', '2', '-s', '1', '-o', 'p.png');
    const told = [];
    for (const i of [1, 2, 3, 4]) told.push((await load(`p-${i}.png`)).parameters);
    expect(told.map((p) => [p?.prompt, p?.seed])).toEqual([
      ['a fox', 1],
      ['a fox', 2],
      ['a cat', 3],
      ['a cat', 4],
    ]);
    for (const empty of [['-'], ['--prompt-file', '-']])
      expect(darkroom(['generate', ...empty], ' \n').status).toBe(2);
    write('bytes.txt', Uint8Array.of(0xff, 0xfe, 0x41));
    expect(darkroom(['generate', '--prompt-file', 'bytes.txt']).err).toContain('must be text in UTF-8');
  });

  test('a config file gives options; the command line comes first', async () => {
    const config = {
      prompt: 'a fox',
      steps: 2,
      seed: '7',
      scheduler: 'ddim',
      output: 'c.webp',
      quiet: true,
      guidance: 2.5,
      'no-parameters': false,
      memoryEfficientAttention: true,
    };
    write('run.json', JSON.stringify(config));
    const ran = darkroom(['generate', '--config', 'run.json', '-s', '8', '-d', 'cpu']);
    expect([ran.status, ran.err]).toEqual([0, 'seed 8\n']);
    expect((await load('c.webp')).parameters).toMatchObject({
      steps: 2,
      scheduler: 'ddim',
      guidanceScale: 2.5,
      seed: 8,
    });
    const bad: readonly [string, string][] = [
      ['{', 'run.json: is not JSON'],
      ['[]', 'must be an object of options'],
      ['{"step": 3}', "there is no option 'step'; did you mean 'steps'?"],
      ['{"steps": "many"}', "run.json: steps: must be an integer, got 'many'"],
      ['{"steps": [3]}', 'steps: must be a text or a number'],
      ['{"quiet": "yes"}', 'quiet: must be true or false'],
      ['{"prompt": 3}', 'prompt must be a text'],
      ['{"__proto__": 3}', 'there is no option'],
    ];
    for (const [text, message] of bad) {
      write('run.json', text);
      const { status, err } = darkroom(['generate', 'a fox', '--config', 'run.json', '-d', 'cpu']);
      expect([text, status, err]).toEqual([text, 2, expect.stringContaining(message)]);
    }
  });

  test('--json is the result, alone on standard output', async () => {
    const { out } = draws('a fox', '-c', '2', '-s', '5', '--json', '-o', 'j.png');
    const result = JSON.parse(out.toString()) as { pictures: object[]; seeds: number[]; device: string };
    expect(result).toMatchObject({ seeds: [5, 6], device: 'cpu', steps: 3 }); // PNDM warms up
    expect(result.pictures).toMatchObject([
      { path: 'j-1.png', width: 64, parameters: { prompt: 'a fox', seed: 5 } },
      { path: 'j-2.png', parameters: (await load('j-2.png')).parameters },
    ]);
  });

  test('options with optional values leave the prompt alone', () => {
    for (const flag of ['--vae-tiling', '--attention-slicing', '--trace']) {
      const { status, err } = darkroom([
        'generate',
        flag,
        'a fox',
        '-o',
        'x.png',
        '-s',
        '1',
        '-n',
        '1',
        '-q',
        '-d',
        'cpu',
      ]);
      expect([flag, status, err]).toEqual([flag, 0, expect.stringMatching(/^seed 1$/m)]);
    }
  });

  test('a prompt that the embedded model does not know gets a hint', () => {
    const { err } = darkroom(['generate', 'a kitten', '-o', 'x.png', '-n', '1', '-d', 'cpu']);
    expect(err).toContain("none is in this prompt; the nearest is 'cat'; darkroom subjects lists them\n");
  });
});
