// A person at a browser: Chromium, headless, logs in on the provider's pages, consents, and comes back to whoever sent it there.
import { tmpdir } from "node:os";
import { join } from "node:path";
import chromium from "@sparticuz/chromium";
import { chromium as playwright } from "playwright-core";

const [url, email] = process.argv.slice(2);
// Told this late that the machine has nothing, the package unpacks the libraries which Chromium needs, and leaves the fonts' settings alone, with
// which pages stand still here.
process.env.AWS_LAMBDA_JS_RUNTIME = "nodejs20.x";
const executablePath = await chromium.executablePath();
const browser = await playwright.launch({
  executablePath,
  env: { ...process.env, LD_LIBRARY_PATH: join(tmpdir(), "al2023", "lib") },
  // Its pages ask for fonts of the internet, which a test has none of.
  args: [...chromium.args.filter((argument) => argument !== "--single-process"), "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
  headless: true,
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(url);
  await page.fill("input[name=login]", email);
  await page.fill("input[name=password]", "any");
  await page.click("button:has-text('Sign-in')");
  await page.click("button:has-text('Continue')");
  await page.waitForURL(/^http:\/\/127\.0\.0\.1:\d+\/callback/);
  console.log(JSON.stringify({ version: browser.version(), text: await page.innerText("body") }));
} finally {
  await browser.close();
}
