<?php
/**
 * CPullStack for sites whose guests have numbers: what is for a guest goes to pullgate, all else to the
 * pull module, unchanged.
 *
 *     CModule::IncludeModule('pull');
 *     CPullStack::AddByUser(-17, ['module_id' => 'shop', 'command' => 'hello', 'params' => []]);
 *
 * Current modules drop such a message without a word. The module's CPullStack is a subclass of CAllPullStack
 * with next to nothing in it, loaded when it is first named. The autoloader below is asked before the
 * module's and defines another one; no file of the module is touched.
 *
 * Require it behind pull_hit.php and Guest.php, before or after the module is included. Where CPullStack was
 * named earlier in the hit it is too late, and the log says so; `use Pullgate\Stack as CPullStack;` at
 * the top of a file still does it for that file. Calls of \Bitrix\Pull\Event::add() do not come by here.
 */

namespace Pullgate {

    if (!\class_exists('Pullgate\Guest')) {
        require_once __DIR__ . '/Guest.php';
    }

    /** What a subclass of CAllPullStack does about guests. */
    trait ServesGuests
    {
        /** As the module's; the channel type and what may follow it are the module's. */
        public static function AddByUser($userId, $arMessage, ...$more)
        {
            return self::isGuest($userId)
                ? self::toGuests([$userId], $arMessage)
                : parent::AddByUser($userId, $arMessage, ...$more);
        }

        /** As the module's, for users and guests together. */
        public static function AddByUsers($users, $arMessage, ...$more)
        {
            $guests = \is_array($users) ? \array_filter($users, [self::class, 'isGuest']) : [];
            if (!$guests) {
                return parent::AddByUsers($users, $arMessage, ...$more);
            }
            $others = \array_diff_key($users, $guests);
            $sent = !$others || parent::AddByUsers($others, $arMessage, ...$more);
            return self::toGuests($guests, $arMessage) && $sent;
        }

        /** As the module's: everybody on the site, and that includes the guests. */
        public static function AddShared($arMessage, ...$more)
        {
            if (!\is_array($arMessage) || isset($more[0]) && $more[0] !== 'shared') {
                return parent::AddShared($arMessage, ...$more); // no guest listens to channels of other types
            }
            try {
                $sent = Guest::sendShared($arMessage);
            } catch (\InvalidArgumentException $error) {
                return false;
            }
            return $sent === null ? parent::AddShared($arMessage, ...$more) && Guest::sendToAll($arMessage) : $sent;
        }

        private static function isGuest($id): bool
        {
            return (\is_int($id) || \is_string($id)) && \preg_match('/^-[1-9][0-9]*$/D', $id);
        }

        /** False for a message that is none, as the module answers; Guest::lastError() says what it lacks. */
        private static function toGuests(array $guests, $message): bool
        {
            try {
                return \is_array($message) && Guest::send($guests, $message);
            } catch (\InvalidArgumentException $error) {
                return false;
            }
        }
    }

    /** Whether guests are pullgate's: pull_hit.php knows, if it is there. */
    function takes_guests(): bool
    {
        return !\function_exists('Pullgate\serves_guests') || serves_guests();
    }

    \spl_autoload_register(function ($class) {
        if (\strcasecmp($class, 'Pullgate\Stack') === 0 && \class_exists('CAllPullStack')) {
            class Stack extends \CAllPullStack
            {
                use ServesGuests;
            }
        }
    }, true, true);
}

namespace {

    spl_autoload_register(function ($class) {
        // Where the module is not included, there is no CAllPullStack, and nobody finds CPullStack either.
        if (strcasecmp($class, 'CPullStack') === 0 && Pullgate\takes_guests() && class_exists('CAllPullStack')) {
            class CPullStack extends CAllPullStack
            {
                use Pullgate\ServesGuests;
            }
        }
    }, true, true);

    if (Pullgate\takes_guests() && class_exists('CPullStack', false)) {
        $at = (new ReflectionClass('CPullStack'))->getFileName();
        if ($at !== __FILE__) {
            Pullgate\Guest::complain(
                "CPullStack was loaded from $at before Stack.php: what it sends to guests is lost. Require Stack.php earlier."
            );
        }
    }
}
