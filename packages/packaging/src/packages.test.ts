// The packages as others get them: packed, looked at, installed by npm in an empty folder outside of the repository, and
// drawing there under every runtime and bundler that the README names. Runs what is built: `tsc -b` comes first.

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Image } from '@darkroom/diffusers';
import { chromiumIsMissing } from '../../../docs/demo/src/testing.ts';
import { emptyFolder, install, look, npmIsMissing, runtimeIsMissing } from './install.ts';
import { budgets, entriesOf, names, packAll, root, run, succeed } from './pack.ts';
import type { Name, Packed } from './pack.ts';
import { buildWithEsbuild, buildWithVite, drawnBy, pageProgram, program } from './pages.ts';

const place = mkdtempSync(join(tmpdir(), 'darkroom-packed-'));
let packed: ReadonlyMap<Name, Packed>;
beforeAll(() => {
  packed = packAll(place);
});
afterAll(() => rmSync(place, { recursive: true }));

test('every package that is not private is packed', () => {
  expect([...packed.keys()].sort()).toEqual([...names].sort());
});

/** Whose data some packages hold, as files that hold it say; anyone's copyright. */
const others = /Cephes|Noto Emoji|Copyright[^\n]*/g;
const withNotice: readonly Name[] = ['backend-cpu', 'gpu-kernels', 'emoji-64'];

describe.each(names)('%s', (name) => {
  test('has a README, a licence, and no more than its users need', () => {
    const { files, manifest } = packed.get(name)!;
    for (const file of ['README.md', 'LICENSE']) expect(files).toContain(file);
    expect(files.filter((f) => /\.test\.|\.tsbuildinfo$|^src\/|\.ts$(?<!\.d\.ts)/.test(f))).toEqual([]);
    const { license, dependencies, peerDependencies } = manifest;
    expect(license).toBe('Apache-2.0');
    for (const version of Object.values({ ...dependencies, ...peerDependencies }))
      expect(version).not.toMatch(/^(workspace|catalog):/);
    expect(JSON.stringify(manifest.exports)).not.toContain('@darkroom/source');
  });

  test('names in its NOTICE whose work is inside', () => {
    const { files, folder } = packed.get(name)!;
    const texts = files.filter((file) => /\.(js|cc|h|txt|md)$/.test(file) && file !== 'LICENSE');
    const found = texts.flatMap((file) => readFileSync(join(folder, file), 'utf8').match(others) ?? []);
    const notice = files.includes('NOTICE') ? readFileSync(join(folder, 'NOTICE'), 'utf8') : '';
    for (const other of new Set(found)) expect(notice).toContain(other);
    expect(notice !== '').toBe(withNotice.includes(name));
  });

  test('is no larger than its budget', () => {
    expect(statSync(packed.get(name)!.tarball).size / 1024).toBeLessThanOrEqual(budgets[name]);
  });

  test('publint and arethetypeswrong find nothing', async () => {
    const data = readFileSync(packed.get(name)!.tarball);
    const bytes = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
    const { messages, pkg } = await publint({ pack: { tarball: bytes }, strict: true, level: 'warning' });
    expect(messages.map((m) => formatMessage(m, pkg, { color: false }))).toEqual([]);
    const checked = await checkPackage(createPackageFromTarballData(new Uint8Array(bytes)));
    // CommonJS callers use import(), and node10's resolution knows no exports: both are stated in the README.
    const accepted = new Set(['CJSResolvesToESM', 'NoResolution']);
    const problems = checked.types === false ? ['no types'] : checked.problems;
    expect(
      problems.filter(
        (p) =>
          typeof p === 'string' ||
          !accepted.has(p.kind) ||
          (p.kind === 'NoResolution' && p.resolutionKind !== 'node10'),
      ),
    ).toEqual([]);
  });
});

/** Without GPUs: what a program of the README and the command need. */
const plain: readonly Name[] = ['core', 'backend-cpu', 'diffusers', 'emoji-64', 'cli'];

describe.skipIf(npmIsMissing())('installed by npm in an empty folder', () => {
  let folder: string;
  /** The picture that the README's program draws in Node. */
  let fox: Image;
  const tarballsOf = (wanted: readonly Name[]): string[] => wanted.map((name) => packed.get(name)!.tarball);
  /** What a program wrote as fox.png, which is removed. */
  const taken = async (): Promise<Image> => {
    const path = join(folder, 'fox.png');
    const image = await Image.load(path);
    rmSync(path);
    return image;
  };
  beforeAll(() => {
    folder = emptyFolder();
    writeFileSync(join(folder, 'program.ts'), program);
    install(folder, tarballsOf(plain));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('brings neither Dawn nor anything native, and as much as the README says', () => {
    const { packages, withScripts, native, megabytes } = look(folder);
    expect(
      packages.filter((name) => /^(webgpu|cmake-js|node-addon-api)$|-(gyp|cuda|webgpu)/.test(name)),
    ).toEqual([]);
    expect([withScripts, native]).toEqual([[], []]);
    const [, count, size] = /an install brings\s(\d+) packages and (\d+) MB/.exec(
      readFileSync(join(root, 'README.md'), 'utf8'),
    )!;
    expect(packages.length).toBeLessThanOrEqual(Number(count));
    expect(Math.round(megabytes)).toBeLessThanOrEqual(Number(size));
  });

  test.each([
    ['bundler', 'esnext'],
    ['node16', 'node16'],
  ])("strict TypeScript takes the README's program, moduleResolution %s", (moduleResolution, module) => {
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const options = ['--strict', '--skipLibCheck', 'false', '--target', 'es2022'];
    const out = module === 'node16' ? [] : ['--noEmit'];
    const how = ['--module', module, '--moduleResolution', moduleResolution, ...out];
    expect(run('node', [tsc, '--pretty', 'false', ...options, ...how, 'program.ts'], folder)).toEqual({
      status: 0,
      out: '',
      err: '',
    });
  });

  test("the README's program draws in Node", async () => {
    succeed('node', ['program.js'], folder);
    fox = await taken();
    expect([fox.width, fox.height, fox.parameters?.prompt]).toEqual([64, 64, 'a fox on a blue background']);
    expect(new Set(fox.data).size).toBeGreaterThan(50);
    writesPictures('node');
  });

  test('the command draws the same, and says what brings a GPU', async () => {
    const words = ['a fox on a blue background', '--steps', '25', '--guidance', '4', '--seed', '1'];
    succeed('npx', ['--no-install', 'darkroom', 'generate', ...words, '-d', 'cpu', '-o', 'fox.png'], folder);
    expect(farthest((await taken()).data, fox)).toBeLessThanOrEqual(1);
    expect(run('npx', ['--no-install', 'darkroom', 'devices'], folder).out).toMatch(
      /npm install @darkroom\/backend-webgpu webgpu[^]*npm install @darkroom\/backend-cuda/,
    );
    const { status, err } = run(
      'npx',
      ['--no-install', 'darkroom', 'generate', 'a fox', '-d', 'cuda'],
      folder,
    );
    expect([status, err]).toEqual([
      expect.any(Number),
      expect.stringContaining(
        'cuda: the package @darkroom/backend-cuda is not installed: npm install @darkroom/backend-cuda',
      ),
    ]);
  });

  // Two threads hung in Deno, whose parentPort has no close().
  test.skipIf(runtimeIsMissing('deno'))('the same in Deno', async () => {
    const flags = ['run', '-A', '--node-modules-dir=manual'];
    succeed('deno', [...flags, 'program.ts'], folder);
    expect(farthest((await taken()).data, fox)).toBeLessThanOrEqual(1);
    writesPictures('deno', ...flags);
  });

  test.skipIf(runtimeIsMissing('bun'))('the same in Bun', async () => {
    succeed('bun', ['program.ts'], folder);
    expect(farthest((await taken()).data, fox)).toBeLessThanOrEqual(1);
    writesPictures('bun');
  });

  describe.skipIf(chromiumIsMissing())('in Chromium', () => {
    const png = expect.stringMatching(/^.PNG/) as string;
    test('the same in a page that Vite built, and in every format', async () => {
      const { data, starts } = await drawnBy(
        await buildWithVite(folder, pageProgram(['png', 'jpeg', 'webp'])),
      );
      expect(farthest(data, fox)).toBeLessThanOrEqual(1);
      expect(starts).toEqual({
        png,
        jpeg: expect.stringMatching(/^\xff\xd8\xff/) as string,
        webp: expect.stringMatching(/^RIFF....WEBP/s) as string,
      });
    });

    test('the same in a page that esbuild built', async () => {
      const { data, starts } = await drawnBy(await buildWithEsbuild(folder, pageProgram(['png'])));
      expect(farthest(data, fox)).toBeLessThanOrEqual(1);
      expect(starts).toEqual({ png });
    });
  });

  describe('with the packages for GPUs', () => {
    let entries: readonly string[];
    beforeAll(() => {
      entries = entriesOf(packed);
      const others = names.filter((name) => !plain.includes(name));
      install(folder, [...tarballsOf(others), 'fast-check@4']);
    });

    test('there is no Dawn either, and every entry point loads', () => {
      expect(look(folder).packages).not.toContain('webgpu');
      expect(entries).toContain('@darkroom/core/node');
      const script = `for (const name of ${JSON.stringify(entries)})
        if (Object.keys(await import(name)).length === 0) throw new Error(name + ' exports nothing');`;
      writeFileSync(join(folder, 'all.mjs'), script);
      expect(succeed('node', ['all.mjs'], folder)).toBe('');
    });

    test.each([
      ['bundler', 'esnext'],
      ['nodenext', 'nodenext'],
    ])('the declarations of every entry point are whole, moduleResolution %s', (moduleResolution, module) => {
      const lines = entries.map((name, i) => `export * as e${i} from '${name}';`);
      writeFileSync(join(folder, 'all.ts'), lines.join('\n'));
      const tsc = join(root, 'node_modules/typescript/bin/tsc');
      const options = ['--strict', '--noEmit', '--target', 'es2023', '--pretty', 'false'];
      const how = ['--module', module, '--moduleResolution', moduleResolution];
      expect(run('node', [tsc, ...options, ...how, 'all.ts'], folder)).toEqual({
        status: 0,
        out: '',
        err: '',
      });
    });

    // One op: a software adapter compiles a pipeline's kernels for half a minute, and the demo's test draws on it.
    test.skipIf(chromiumIsMissing())('a page computes on WebGPU', async () => {
      const text = `import { webgpu } from '@darkroom/backend-webgpu';
import { matmul, tensor } from '@darkroom/core';
const device = await webgpu();
const x = tensor([1, 2, 3, 4], { shape: [2, 2], device });
Object.assign(globalThis, { drawn: { device: device.backend.name, data: [...(await matmul(x, x).data())] } });
`;
      expect(await drawnBy(await buildWithVite(folder, text), true)).toEqual({
        device: 'webgpu',
        data: [7, 10, 15, 22],
      });
    });
  });

  /** Writes and reads each format of pictures, whose codecs each runtime finds and compiles in its own way. */
  function writesPictures(command: string, ...args: readonly string[]): void {
    const lines = `
import { Image } from '@darkroom/diffusers';
const image = new Image(8, 8, new Uint8ClampedArray(192).fill(200), { prompt: 'a fox', seed: 1 });
for (const name of ['a.png', 'a.jpg', 'a.webp']) {
  await image.save(name);
  const { width, data, parameters } = await Image.load(name);
  console.log(name, width, Math.abs(data[0] - 200) < 3, parameters.prompt);
}
`;
    writeFileSync(join(folder, 'pictures.mjs'), lines);
    const expected = ['a.png', 'a.jpg', 'a.webp'].map((name) => `${name} 8 true a fox\n`);
    expect(succeed(command, [...args, 'pictures.mjs'], folder)).toBe(expected.join(''));
  }
});

/** Largest difference of two pictures, in 0 … 255. Engines may round differently where they fuse multiply and add. */
function farthest(pixels: ArrayLike<number>, image: Image): number {
  expect(pixels.length).toBe(image.data.length);
  return image.data.reduce((most, v, i) => Math.max(most, Math.abs(v - pixels[i]!)), 0);
}
