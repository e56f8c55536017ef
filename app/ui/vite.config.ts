import react from "@vitejs/plugin-react";
import { loadEnv } from "vite";
import { defineConfig } from "vitest/config";

export default defineConfig(({ mode }) => ({
  plugins: [react()],
  build: {
    rollupOptions: { input: ["index.html", "docs.html"] },
    assetsInlineLimit: 0, // a data: URL would violate the Content-Security-Policy in nginx.conf
  },
  server: {
    host: true,
    port: 5173,
    strictPort: true,
    proxy: { "/api": loadEnv(mode, ".", "VITE_").VITE_DEV_API ?? "http://localhost:8000" },
  },
  test: {
    environment: "jsdom",
  },
}));
