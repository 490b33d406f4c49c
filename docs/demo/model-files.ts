// A Vite plugin that puts a model of the repository beside the page: served in development, copied into a build.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';

const repository = fileURLToPath(new URL('../../', import.meta.url));

/** `folder`: where the model lies below the repository's root, and below the page. */
export function modelFiles(folder: string): Plugin {
  // Listed, not looked up by address: nothing outside the folder can be asked for.
  const files = new Map(
    readdirSync(join(repository, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => join(repository, folder, name))
      .filter((path) => statSync(path).isFile())
      .map((path) => [relative(repository, path).split(sep).join('/'), path] as const),
  );
  return {
    name: 'darkroom:model-files',
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const path = files.get((request.url ?? '').replace(/[?#].*/, '').replace(/^\//, ''));
        if (path === undefined) return next();
        response.setHeader(
          'content-type',
          path.endsWith('.json') ? 'application/json' : 'application/octet-stream',
        );
        response.end(request.method === 'HEAD' ? undefined : readFileSync(path));
      });
    },
    generateBundle() {
      for (const [fileName, path] of files)
        this.emitFile({ type: 'asset', fileName, source: readFileSync(path) });
    },
  };
}
