// How the page is served and built: from the packages' sources, for any static server.

import { fileURLToPath } from 'node:url';
import { defaultClientConditions, defineConfig } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  // Not a single-page app: a missing file must be a 404, not the page.
  appType: 'mpa',
  publicDir: false,
  resolve: { conditions: ['@darkroom/source', ...defaultClientConditions] },
  worker: { format: 'es' },
});
