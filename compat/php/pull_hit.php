<?php
/**
 * pullgate's hook: tells Push & Pull which guest this hit belongs to.
 *
 * pullgate adds two headers to the request of a visitor whose cookie it has verified:
 *
 *     Pull-User-Id: -17
 *     Pull-User-Token: t=<unix time>,v1=<hex HMAC-SHA256 of "<unix time>.-17">
 *
 * When both hold and nobody is logged in, this file defines PULL_USER_ID as -17. In every other
 * case it does nothing, and says nothing.
 *
 * With Bitrix it is either registered once, as the lesson "Push & Pull for guests" has it; here for a file
 * /local/scripts/pull_hit.php. Where `main` looks registered paths up below /local/ and /bitrix/, as it does
 * today, and where it takes them as they are:
 *
 *     RegisterModuleDependences("main", "OnProlog", "main", "", "", 2, "scripts/pull_hit.php");
 *     RegisterModuleDependences("main", "OnProlog", "main", "", "", 2, "local/scripts/pull_hit.php");
 *
 * Or it is required in /local/php_interface/init.php or /bitrix/php_interface/init.php:
 *
 *     require_once __DIR__ . '/pull_hit.php';
 *
 * A registered file is included while OnProlog is being sent: $USER is there, and it decides at once. In
 * init.php there is no $USER yet, and it waits for OnProlog.
 *
 * Without Bitrix, require it before PULL_USER_ID is needed, or ask \Pullgate\guest_id().
 *
 * Pages on which no module starts the browser's client print \Pullgate\guest_script() in their head.
 *
 * `pullgate php-hook` prints this file with the site's keys filled in. As it stands here it takes
 * them from the environment: PULLGATE_TOKEN_KEYS, hex, separated by commas. PHP 7.2 and later.
 */

namespace Pullgate;

if (!\function_exists('Pullgate\guest_id')) { // the file may be required twice

    /**
     * The number of the guest whose hit this is, always negative; null when there is none or when
     * pullgate did not vouch for it. Does not ask whether somebody is logged in.
     */
    function guest_id(): ?int
    {
        $id = isset($_SERVER['HTTP_PULL_USER_ID']) ? $_SERVER['HTTP_PULL_USER_ID'] : null;
        $token = isset($_SERVER['HTTP_PULL_USER_TOKEN']) ? $_SERVER['HTTP_PULL_USER_TOKEN'] : null;
        if (!\is_string($id) || !\is_string($token)
            || !\preg_match('/^-[1-9][0-9]{0,9}$/D', $id)
            || !\preg_match('/^t=([0-9]{1,12}),v1=([0-9a-f]{64})$/D', $token, $parts)
        ) {
            return null;
        }
        $fits = (int)$id >= -2147483647; // the site keeps the number in a signed 32-bit column
        $fresh = \abs(\time() - (int)$parts[1]) <= 300; // seconds, either way: clocks differ
        return $fits && $fresh && signed($parts[1] . '.' . $id, $parts[2]) ? (int)$id : null;
    }

    /** Whether one of the keys signs the text so. */
    function signed(string $text, string $signature): bool
    {
        foreach (token_keys() as $key) {
            if (\hash_equals(\hash_hmac('sha256', $text, $key), $signature)) {
                return true;
            }
        }
        return false;
    }

    /** The keys as bytes: those filled in here, else those of the environment; none means no guest. */
    function token_keys(): array
    {
        $keys = [/* pullgate:keys */];
        if (!$keys) {
            $keys = \explode(',', (string)\getenv('PULLGATE_TOKEN_KEYS'));
        }
        // Under 16 bytes it is a slip, not a key.
        $whole = \preg_grep('/^(?:[0-9a-f]{2}){16,}$/Di', \array_map('trim', $keys));
        return \array_map('hex2bin', $whole);
    }

    /** Whether pullgate delivers to guests here (guest.push.enabled): if not, the pull module does. */
    function serves_guests(): bool
    {
        return true /* pullgate:push */;
    }

    /** $USER of this hit, null where Bitrix has not made it yet. */
    function user()
    {
        $user = isset($GLOBALS['USER']) ? $GLOBALS['USER'] : null;
        return \is_object($user) && \method_exists($user, 'IsAuthorized') ? $user : null;
    }

    /** Whether this hit has a user of its own, whose number must not be overridden. */
    function authorized(): bool
    {
        $user = user();
        return $user !== null && $user->IsAuthorized();
    }

    /** Defines PULL_USER_ID for a verified guest, unless somebody is logged in or the site did it. */
    function define_guest(): void
    {
        if (\defined('PULL_USER_ID') || authorized()) {
            return;
        }
        $id = guest_id();
        if ($id !== null) {
            \define('PULL_USER_ID', $id);
        }
    }

    /**
     * A script element with the keys from which the browser's client learns that this is a guest; '' when
     * it is none, somebody is logged in, or the site says it is another. The page belongs to this visitor
     * alone, so no cache may keep it.
     */
    function guest_script(): string
    {
        $id = guest_id();
        if ($id === null || authorized() || (\defined('PULL_USER_ID') && \PULL_USER_ID !== $id)) {
            return '';
        }
        $keys = ['pull_server_enabled' => 'Y', 'pull_guest_mode' => 'Y', 'pull_guest_user_id' => $id];
        // Before Bitrix's core script has come there is no BX.message; it keeps what it finds there.
        return '<script>(function(k){var b=window.BX=window.BX||{};'
            . 'b.message=b.message||function(m){for(var n in m)b.message[n]=m[n]};b.message(k)})('
            . \json_encode($keys, JSON_HEX_TAG | JSON_HEX_AMP) . ");</script>\n";
    }
}

// A handler added while OnProlog is being sent would not be called any more. Sort 2 comes before the pull
// module's own handlers.
if (user() !== null) {
    define_guest();
} elseif (\function_exists('AddEventHandler')) {
    \AddEventHandler('main', 'OnProlog', 'Pullgate\define_guest', 2);
} elseif (\class_exists('Bitrix\Main\EventManager', false)) {
    \Bitrix\Main\EventManager::getInstance()
        ->addEventHandlerCompatible('main', 'OnProlog', 'Pullgate\define_guest', false, 2);
} else {
    define_guest();
}
